//! `compare`, `report` and `drill`: the harness's commands. The harness knows nothing of this crate; this file gives it
//! the facts about the binary.

use std::process::ExitCode;

use roundelay_harness::subject::{Product, ProductWay};

use crate::failure::{Failure, code};
use crate::mode::{Acceptor, Inherits, Mode};
use crate::strategy;
use crate::supervisor::DEMO_COMMAND;

/// Runs one of the harness's commands on this binary.
pub(super) fn run(command: impl FnOnce(&Product) -> Result<u8, Failure>) -> Result<ExitCode, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(code::FAILED, "cannot find this program's own file").cause(error))?;
    let product = Product {
        program,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ways: ways(),
        demo: vec![DEMO_COMMAND.into()],
    };
    command(&product).map(ExitCode::from)
}

/// Returns every way that the tables of modes and strategies allow. The default mode's are named by their strategy
/// alone; those of other modes follow a slash, as in `handoff/p2c`.
fn ways() -> Vec<ProductWay> {
    let mut ways = Vec::new();
    for mode in Mode::ALL {
        for (index, entry) in strategy::ALL.iter().enumerate() {
            let is_chosen = mode.acceptor() == Acceptor::Master;
            if index > 0 && !is_chosen {
                break;
            }
            let mut way = way(mode, entry, index == 0);
            if is_chosen {
                way.flags.extend(["--strategy".to_owned(), entry.name.to_owned()]);
            }
            ways.push(way);
        }
        if mode == Mode::Proxy {
            ways.push(unix());
        }
    }
    ways
}

fn way(mode: Mode, entry: &strategy::Entry, is_default: bool) -> ProductWay {
    let name = match (mode, is_default) {
        (Mode::Proxy, _) => entry.name.to_owned(),
        (_, true) => mode.name().to_owned(),
        (_, false) => format!("{}/{}", mode.name(), entry.name),
    };
    let about = match mode.acceptor() {
        Acceptor::Master => format!("mode {}: {}", mode.name(), entry.summary),
        Acceptor::Workers => format!("mode {}: the workers accept, the kernel chooses", mode.name()),
    };
    ProductWay {
        name,
        about,
        flags: vec!["--mode".to_owned(), mode.name().to_owned()],
        has_fixed_workers: mode.inherits() == Inherits::SlotListener,
    }
}

fn unix() -> ProductWay {
    ProductWay {
        name: "unix".to_owned(),
        about: "mode proxy over unix sockets to the workers, default strategy".to_owned(),
        flags: ["--mode", Mode::Proxy.name(), "--endpoint", "unix"].map(str::to_owned).into(),
        has_fixed_workers: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_and_strategy_is_listed_and_the_default_is_first() {
        let ways = ways();
        assert_eq!(ways[0].name, strategy::ALL[0].name);
        let names: Vec<_> = ways.iter().map(|way| way.name.as_str()).collect();
        for entry in strategy::ALL {
            assert!(names.contains(&entry.name), "{names:?}");
        }
        for mode in Mode::ALL.iter().filter(|mode| **mode != Mode::Proxy) {
            assert!(names.contains(&mode.name()), "{names:?}");
        }
        assert!(
            names.contains(&"unix") && names.contains(&"handoff/p2c") && !names.contains(&"shared/p2c"),
            "{names:?}"
        );
        let fixed: Vec<_> = ways.iter().filter(|way| way.has_fixed_workers).map(|way| way.name.as_str()).collect();
        assert_eq!(fixed, ["reuseport"]);
    }
}
