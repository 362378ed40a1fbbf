//! The method of measurement in sentences with all numbers, and the environment. Pure.

use super::number;
use super::view::View;
use crate::analysis::LEAST_REPETITIONS;

/// Returns the sentences that a reader needs to repeat the run, and to know what the figures mean.
pub(crate) fn sentences(view: View<'_>) -> Vec<String> {
    let method = &view.report.method;
    let reference = view.reference().unwrap_or("none");
    let mut all = vec![format!(
        "Each way ran each scenario {} times, each time with fresh workers: {} of them, one for direct. In each \
         repetition the ways were measured in a new random order, so that a change of the machine does not always affect the \
         same way.",
        method.repeat, method.workers
    )];
    all.push(format!(
        "Saturation is the closed loop: {} clients for {}, each sending its next request when it has the answer. Everything \
         else is the open loop: requests are sent by a fixed schedule for {} {}. Latency counts from the time at which a \
         request was due, so that the figures show it if a server stalls and delays all requests that are due meanwhile.",
        method.connections,
        number::seconds(method.closed_seconds),
        number::seconds(method.open_seconds),
        rates(view)
    ));
    all.push(
        "The figures are those at one rate, the headline rate, which is the middle one. The rates are low because an open loop \
         costs the machine more than a closed one: every process, even the generator, is woken for each request. A scenario \
         with an event has no closed loop, and only one rate."
            .to_owned(),
    );
    all.push(format!(
        "{} of load before each measurement, over the same connections, is not counted. A request that takes more than {} \
         has failed. In percentiles, requests that failed or were not started count as never answered; if there are too many of \
         them, there is no percentile. Seed {} decides the order of ways and of requests.",
        number::seconds(method.warm_up_seconds),
        number::seconds(method.timeout_seconds),
        method.seed
    ));
    all.push(format!(
        "A figure is the median of its repetitions. The range beside it is that median's 95 % bootstrap interval: how far it \
         would vary if the repetitions were sampled again. Errors are the sum of all repetitions, and their range is the \
         least and the most in one. Better and worse are relative to {reference}. They need at least {LEAST_REPETITIONS} \
         repetitions, a result that chance hardly explains, and a difference that is large enough to matter; the ratio is \
         this way's value divided by the reference's. Otherwise no difference was found, which does not prove that there is none."
    ));
    all.push(
        "HAProxy and nginx are in front of workers that are not started again: after a kill they have one less. HAProxy checks \
         them as often as Roundelay does, nginx notices only failed connects.".to_owned(),
    );
    all.push(
        "Fairness is Jain's index over the answers of the workers: 1 is even, 1/n means that one of n gets all. Even is not \
         always best: a slower worker should get less. CPU per answer is processor time, user and system, divided by the \
         number of complete answers."
            .to_owned(),
    );
    all.push(format!(
        "The generator, the balancer and the workers share {} processors and use loopback. So saturation is that of \
         all three together; CPU per answer depends less on scheduling. Not shown: any network, other \
         machines, percentiles that a repetition has too few answers for (one of 99.9 needs a thousand), and repetitions \
         that did not finish; report.json has these, too.",
        view.report.environment.cores
    ));
    all
}

fn rates(view: View<'_>) -> String {
    let method = &view.report.method;
    if let Some(rate) = method.rate {
        return format!("at {} requests/s, as given by --rate", number::digits(rate));
    }
    let shares: Vec<String> = method.shares.iter().map(|share| number::percent(*share)).collect();
    format!("each at {} of the lowest saturation that a way with several workers had in the scenario", listed(&shares))
}

/// Writes `a`, `a and b`, `a, b and c`.
fn listed(items: &[String]) -> String {
    match items {
        [] => "no share".to_owned(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

/// Returns the environment as names and values, in the order of the table.
pub(crate) fn environment(view: View<'_>) -> Vec<(String, String)> {
    let environment = &view.report.environment;
    let unknown = || "unknown".to_owned();
    let [one, five, fifteen] = environment.load_before;
    let mut rows = vec![
        ("began", environment.began.clone()),
        ("roundelay", environment.version.clone()),
        ("revision of the sources", environment.revision.clone().unwrap_or_else(unknown)),
        ("workers", environment.workload.clone()),
        ("processor", environment.cpu.clone()),
        ("processors usable", environment.cores.to_string()),
        ("governor", environment.governor.clone().unwrap_or_else(unknown)),
        ("memory", number::bytes(environment.memory as f64)),
        ("kernel", environment.kernel.clone()),
        ("load before (1, 5, 15 min)", format!("{one:.2}, {five:.2}, {fifteen:.2}")),
    ];
    rows.extend(environment.programs.iter().map(|(name, version)| (name.as_str(), version.clone())));
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Describes the machine on one line.
pub(crate) fn machine(view: View<'_>) -> String {
    let environment = &view.report.environment;
    let cores =
        if environment.cores == 1 { "1 processor".to_owned() } else { format!("{} processors", environment.cores) };
    format!("{} ({cores}), {}, {}", environment.cpu, number::bytes(environment.memory as f64), environment.kernel)
}

/// Writes the command as one line that a POSIX shell can read.
pub(crate) fn command(view: View<'_>) -> String {
    view.report.environment.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_can_be_pasted_into_a_shell() {
        let words = ["plain-1.2", "two words", "it's", "", "{port}"].map(quoted);
        assert_eq!(words, ["plain-1.2", "'two words'", "'it'\\''s'", "''", "'{port}'"]);
    }

    #[test]
    fn shares_are_listed_as_one_says_them() {
        let items = ["50 %", "70 %", "90 %"].map(str::to_owned);
        assert_eq!(listed(&items), "50 %, 70 % and 90 %");
        assert_eq!(listed(&items[..1]), "50 %");
    }
}
