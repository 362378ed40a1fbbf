//! The user's own scenarios, from a TOML file. Pure.
//!
//! ```toml
//! [scenario.checkout]
//! about = "mostly the cart, sometimes a payment"
//! requests-per-connection = 10      # 0: keep the connection open
//! event = "kill"                    # none, kill, hang, reload or scale
//! env = { CACHE = "off" }           # in addition to the workers' usual variables
//!
//! [[scenario.checkout.requests]]
//! path = "/cart"
//! weight = 9
//!
//! [[scenario.checkout.requests]]
//! path = "/pay"
//! method = "POST"
//! body = '{"amount": 3}'
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::Deserialize;

use super::scenario::{Event, Request, Scenario};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    scenario: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    about: Option<String>,
    requests: Vec<Asked>,
    requests_per_connection: Option<u32>,
    #[serde(default)]
    event: Happening,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    path: String,
    method: Option<String>,
    body: Option<String>,
    weight: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Happening {
    #[default]
    None,
    Kill,
    Hang,
    Reload,
    Scale,
}

/// Reads the scenarios of a file, by name.
///
/// # Errors
///
/// The mistake, with its position in the text if it has one.
pub fn read(text: &str) -> Result<Vec<Scenario>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    if file.scenario.is_empty() {
        return Err(String::from("it has no [scenario.NAME]"));
    }
    file.scenario.into_iter().map(|(name, entry)| scenario(name, entry)).collect()
}

fn scenario(name: String, entry: Entry) -> Result<Scenario, String> {
    let is_name =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !is_name(&name) {
        return Err(format!("scenario `{name}`: a name has lower-case letters, digits and `-`"));
    }
    if entry.requests.is_empty() {
        return Err(format!("scenario `{name}` has no requests"));
    }
    let requests = entry.requests.into_iter().map(request).collect::<Result<_, _>>();
    let event = match entry.event {
        Happening::None => None,
        Happening::Kill => Some(Event::Kill),
        Happening::Hang => Some(Event::Hang),
        Happening::Reload => Some(Event::Reload),
        Happening::Scale => Some(Event::Scale),
    };
    Ok(Scenario {
        about: entry.about.unwrap_or_else(|| String::from("as the scenario file says")),
        requests: requests.map_err(|error| format!("scenario `{name}`: {error}"))?,
        requests_per_connection: entry.requests_per_connection.map_or(NonZeroU32::new(1), NonZeroU32::new),
        event,
        worker_env: entry.env,
        needs_demo: false,
        name,
    })
}

fn request(asked: Asked) -> Result<Request, String> {
    let Asked { path, method, body, weight } = asked;
    // These texts are written into a request unchanged, so they must not contain the end of a line.
    let is_word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    let method = method.unwrap_or_else(|| String::from(if body.is_some() { "POST" } else { "GET" }));
    let weight = weight.unwrap_or(1.0);
    if !path.starts_with('/') || !is_word(&path) {
        return Err(format!("path `{path}` must begin with `/` and have no blanks or other than ASCII characters"));
    }
    if !is_word(&method) {
        return Err(format!("method `{method}` must be a word such as GET"));
    }
    if !(weight > 0.0 && weight.is_finite()) {
        return Err(format!("weight {weight} of {path} must be above 0"));
    }
    Ok(Request { method, path, body, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_the_documentation_is_read() {
        let text: String = include_str!("file.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//!").map(str::trim_start))
            .skip_while(|line| *line != "```toml")
            .skip(1)
            .take_while(|line| *line != "```")
            .flat_map(|line| [line, "\n"])
            .collect();
        let read = read(&text).unwrap();
        let [checkout] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!((checkout.name.as_str(), checkout.event.as_ref()), ("checkout", Some(&Event::Kill)));
        assert_eq!(checkout.requests_per_connection, NonZeroU32::new(10));
        let [cart, pay] = checkout.requests.as_slice() else { panic!("{checkout:?}") };
        assert_eq!((cart.method.as_str(), cart.weight, pay.method.as_str(), pay.weight), ("GET", 9.0, "POST", 1.0));
        assert_eq!(checkout.worker_env["CACHE"], "off");
    }

    #[test]
    fn mistake_is_said_with_its_place() {
        for (text, expected) in [
            ("", "no [scenario.NAME]"),
            ("[scenario.a]\nrequests = []", "`a` has no requests"),
            ("[scenario.\"A b\"]\nrequests = [{ path = \"/\" }]", "lower-case letters"),
            ("[scenario.a]\nrequests = [{ path = \"x\" }]", "path `x` must begin with `/`"),
            ("[scenario.a]\nrequests = [{ path = \"/ HTTP/1.0\" }]", "no blanks"),
            ("[scenario.a]\nrequests = [{ path = \"/\", weight = 0 }]", "weight 0 of / must be above 0"),
            ("[scenario.a]\nrequests = [{ path = \"/\", method = \"\" }]", "method ``"),
            ("[scenario.a]\nevnt = \"kill\"\nrequests = []", "line 2, column 1"),
            ("[scenario.a]\nevent = \"boom\"\nrequests = []", "line 2"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn none_and_zero_requests_of_a_connection_are_one_and_all() {
        let per_connection = |more: &str| {
            read(&format!("[scenario.a]\n{more}\nrequests = [{{ path = \"/\" }}]")).unwrap()[0].requests_per_connection
        };
        assert_eq!(per_connection(""), NonZeroU32::new(1));
        assert_eq!(per_connection("requests-per-connection = 0"), None);
    }
}
