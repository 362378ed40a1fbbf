//! The configuration file. A file that is taken is shown as a file that gives the same configuration.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roundelay::config::{Source, Sources, load, show};

fn sources(text: &str) -> Sources {
    Sources { file: Some(Source::new("roundelay.toml", text)), cpus: 2, ..Sources::default() }
}

fuzz_target!(|text: &str| {
    match load(&sources(text)) {
        Err(problems) => {
            let shown = problems.to_string();
            assert!(!shown.is_empty(), "a file is refused without a reason");
            let is_harmful = |c: char| c.is_control() && c != '\n' && c != '\t';
            assert!(!shown.chars().any(is_harmful), "{shown:?}");
        }
        Ok(loaded) => {
            let shown = show(&loaded.config, None);
            match load(&sources(&shown)) {
                Ok(again) => assert_eq!(again.config, loaded.config, "{shown}"),
                Err(problems) => panic!("what `config show` writes is refused: {problems}\n{shown}"),
            }
        }
    }
});
