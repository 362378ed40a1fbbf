//! The table of faults: the action, the promise, the allowed failures, and the targets on which a fault can be run.
//! Pure.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::{Serialize, Serializer};

/// A fault that a server must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL of workers.
    Kill,
    /// SIGSTOP of a worker.
    Stop,
    /// A reload to a release that never listens.
    NeverReady,
    /// A reload to a release that exits at once.
    BadRelease,
    /// One worker that is stopped half of the time.
    SlowWorker,
    /// The disk of the workers' log is full.
    FullDisk,
    /// More clients than the master has descriptors for.
    Descriptors,
    /// SIGKILL of the master.
    MasterKill,
    /// Reloads one right after the other.
    ReloadStorm,
}

/// The allowed cost of a drain.
const DRAINED: &str = "nothing; for other programs than the demo, during a reload to the good release, as many requests as \
                       there are kept connections";

/// A fault in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its name in options and reports.
    pub name: &'static str,
    /// The action under load.
    pub done: &'static str,
    /// The promise: a result that must be observed.
    pub promised: &'static str,
    /// The failures that are nevertheless allowed.
    pub allowed: &'static str,
}

/// The way in which a target gives connections to its workers, as far as promises depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Every byte goes through the master.
    Proxy,
    /// The master accepts, and hands the sockets over to workers.
    Handoff,
    /// The workers accept themselves; only the product has this, and with the demo it has a heartbeat.
    Accepting {
        /// True if the worker sends regular signs of life.
        has_heartbeat: bool,
    },
    /// Node's cluster, also under pm2: the primary accepts, or the kernel does.
    NodeCluster,
    /// One worker without a balancer.
    Direct,
}

impl Fault {
    /// All faults, in the order in which they are run.
    pub const ALL: [Self; 9] = [
        Self::Kill,
        Self::Stop,
        Self::NeverReady,
        Self::BadRelease,
        Self::SlowWorker,
        Self::FullDisk,
        Self::Descriptors,
        Self::MasterKill,
        Self::ReloadStorm,
    ];

    /// Returns its name in options and reports.
    pub fn name(self) -> &'static str {
        self.about().name
    }

    /// Returns its description in words.
    pub fn about(self) -> About {
        let (name, done, promised, allowed) = match self {
            Self::Kill => (
                "kill",
                "SIGKILL of random workers, one after the other",
                "each is replaced within 10 s; some client is answered at any time",
                "connections that were open on a killed worker by the master's count, at most those under way or kept then",
            ),
            Self::Stop => (
                "stop",
                "SIGSTOP of a random worker, without SIGCONT",
                "it is found and replaced within 15 s; some client is answered at any time",
                "connections that the stopped worker had taken, counted in the same way",
            ),
            Self::NeverReady => (
                "never-ready",
                "a reload to a program that never listens",
                "the reload fails with exit code 1 within 30 s; the same workers go on; the good release is accepted again",
                DRAINED,
            ),
            Self::BadRelease => (
                "bad-release",
                "a reload to a program that exits at once",
                "the reload fails with exit code 1 and shows the program's last line; the same workers go on; the good \
                 release is accepted again",
                DRAINED,
            ),
            Self::SlowWorker => (
                "slow-worker",
                "one worker is stopped and continued every 50 ms",
                "only its own clients wait; it is not replaced",
                "nothing",
            ),
            Self::FullDisk => (
                "full-disk",
                "the workers' log is on a full disk",
                "workers are not blocked; the master reports it once",
                "nothing",
            ),
            Self::Descriptors => (
                "descriptors",
                "more clients than the master may have descriptors for",
                "clients wait and are served; the control socket answers",
                "nothing",
            ),
            Self::MasterKill => (
                "master-kill",
                "SIGKILL of the master",
                "all workers are gone within 5 s; a new master starts on the same port at the first attempt and serves",
                "requests that were under way, or due before the new master served",
            ),
            Self::ReloadStorm => (
                "reload-storm",
                "rolling reloads one right after the other",
                "every reload is carried out and replaces all workers",
                DRAINED,
            ),
        };
        About { name, done, promised, allowed }
    }

    /// Checks that it can be run on such a target.
    ///
    /// # Errors
    ///
    /// The reason why not: the target lacks the feature, or makes no promise about it.
    pub fn applies(self, manner: Manner) -> Result<(), &'static str> {
        let is_product = !matches!(manner, Manner::NodeCluster | Manner::Direct);
        match self {
            Self::Stop if manner == (Manner::Accepting { has_heartbeat: false }) => {
                Err("workers accept by themselves, and this program sends no heartbeat that would show a hang")
            }
            Self::FullDisk if !is_product => Err("it does not write the output of workers to a file"),
            Self::Descriptors if !is_product => {
                Err("its processes have the same limit of open files as the application's")
            }
            Self::NeverReady | Self::BadRelease | Self::ReloadStorm | Self::MasterKill if manner == Manner::Direct => {
                Err("there is no master")
            }
            _ => Ok(()),
        }
    }
}

impl ValueEnum for Fault {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()).help(self.about().done))
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: Manner = Manner::Accepting { has_heartbeat: true };

    #[test]
    fn names_are_distinct_and_read_as_they_are_written() {
        for fault in Fault::ALL {
            assert_eq!(Fault::from_str(fault.name(), false), Ok(fault));
            assert_eq!(Fault::ALL.iter().filter(|other| other.name() == fault.name()).count(), 1);
        }
    }

    #[test]
    fn product_gets_all_faults_and_others_have_a_reason() {
        for fault in Fault::ALL {
            for manner in [Manner::Proxy, Manner::Handoff, DEMO] {
                assert_eq!(fault.applies(manner), Ok(()), "{}", fault.name());
            }
        }
        let applying = |manner| Fault::ALL.into_iter().filter(move |fault| fault.applies(manner).is_ok());
        assert_eq!(applying(Manner::NodeCluster).count(), 7);
        assert_eq!(applying(Manner::Direct).collect::<Vec<_>>(), [Fault::Kill, Fault::Stop, Fault::SlowWorker]);
        assert!(Fault::Stop.applies(Manner::Accepting { has_heartbeat: false }).is_err());
    }
}
