//! The Dockerfile, and the Dockerfiles on the page, against the real command line.

use std::process::Command;

use super::{blocks, dockerfile, path, read};
use crate::kit::{Setup, run_to_end};

#[test]
fn dockerfile_copies_only_existing_files() {
    let text = read("docker/Dockerfile");
    let stages = dockerfile::parse(&text);
    let ignored = read(".dockerignore");
    let mut copies = 0;
    for (i, stage) in stages.iter().enumerate() {
        for copy in stage.all("COPY") {
            let words: Vec<&str> = copy.split_whitespace().collect();
            let (sources, from) = match words[0].strip_prefix("--from=") {
                Some(from) => (&words[1..words.len() - 1], Some(from)),
                None => (&words[..words.len() - 1], None),
            };
            for &source in sources {
                copies += 1;
                match from {
                    Some(from) => {
                        let maker = stages[..i].iter().find(|stage| stage.name.as_deref() == Some(from)).unwrap();
                        assert!(maker.all("RUN").any(|run| run.contains(source)), "{from} makes no {source}");
                    }
                    None => {
                        assert!(path(source).exists(), "COPY {source}");
                        assert!(!ignored.lines().any(|line| line == source), "{source} is kept from the build");
                    }
                }
            }
        }
    }
    assert!(copies > 2, "{text}");
    // The whole tree is sent to the engine, so `.dockerignore` must not exclude any file that the build needs.
    for needed in ["Cargo.toml", "Cargo.lock", "balancer", "worker-runtime", "tests", "config", "docs"] {
        assert!(path(needed).exists() && !ignored.contains(needed), "{needed}");
    }
    // The compiler is the one that the workspace asks for.
    let cargo: toml::Table = read("Cargo.toml").parse().unwrap();
    let version = cargo["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(stages[0].base.starts_with(&format!("rust:{version}-")), "{}", stages[0].base);
}

#[test]
fn both_images_run_as_a_numeric_user_and_stop_by_sigterm() {
    let stages = dockerfile::parse(&read("docker/Dockerfile"));
    let [_, images @ ..] = stages.as_slice() else { panic!("{stages:?}") };
    assert_eq!(images.iter().map(|stage| stage.name.as_deref()).collect::<Vec<_>>(), [Some("debian"), None]);
    assert_eq!(images[1].base, "scratch");
    for image in images {
        let user: Vec<u32> = image.last("USER").split(':').map(|id| id.parse().unwrap()).collect();
        assert!(user.len() == 2 && user[0] > 0 && user[1] > 0, "{user:?}");
        assert_eq!(image.last("STOPSIGNAL"), "SIGTERM");
        let port = format!(":{}", image.last("EXPOSE"));
        assert!(image.words("CMD").iter().any(|word| word.ends_with(&port)), "nothing listens on {port}");
        assert_eq!(image.words("HEALTHCHECK")[..1], image.words("ENTRYPOINT")[..], "another binary is asked");
        assert!(image.words("ENTRYPOINT")[0].starts_with('/'));
        assert!(image.env().contains(&("ROUNDELAY_CONTROL", "/tmp/roundelay/control.sock")), "{:?}", image.env());
    }
}

#[test]
fn command_lines_of_both_images_start_and_check_a_master() {
    for image in &dockerfile::parse(&read("docker/Dockerfile"))[1..] {
        let line = image.command_line().join(" ").replace("0.0.0.0:8080", "127.0.0.1:0");
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let master = Setup::new(&words).start_ready();
        assert_eq!(master.get("/health").unwrap().status, 200);

        let mut check = Command::new(env!("CARGO_BIN_EXE_roundelay"));
        check.args(&image.words("HEALTHCHECK")[1..]).env("ROUNDELAY_CONTROL", &master.control);
        let check = run_to_end(&mut check);
        assert_eq!((check.code, check.stderr.as_str()), (Some(0), ""), "{line}");
    }
}

#[test]
fn page_names_existing_files_and_its_examples_are_accepted() {
    let page = read("docs/container.md");
    let files = page.lines().filter(|line| line.starts_with("| `")).flat_map(|line| {
        let (names, _) = line[1..].split_once('|').unwrap();
        names.split('`').skip(1).step_by(2).map(|name| format!("docker/{name}")).collect::<Vec<_>>()
    });
    let files: Vec<String> = files.collect();
    assert!(files.len() >= 6, "{files:?}");
    files.iter().for_each(|file| assert!(path(file).exists(), "{file}"));

    let folder = tempfile::tempdir().unwrap();
    let roundelay = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roundelay"));
        command.current_dir(folder.path());
        command
    };
    let [toml] = blocks(&page, "toml")[..] else { panic!("one configuration") };
    std::fs::write(folder.path().join("roundelay.toml"), toml).unwrap();
    let check = run_to_end(roundelay().args(["config", "check"]));
    assert_eq!(check.code, Some(0), "{}", check.stderr);

    let examples = blocks(&page, "dockerfile");
    assert_eq!(examples.len(), 2);
    for example in examples {
        let stage = dockerfile::parse(example).swap_remove(0);
        let command = stage.words("CMD");
        assert_eq!(command[0], "run");
        let shown = run_to_end(roundelay().args(["config", "show"]).args(&command[1..]));
        assert_eq!(shown.code, Some(0), "{command:?}: {}", shown.stderr);
        // An address on loopback could not be reached from outside.
        assert!(shown.stdout.contains("0.0.0.0:8080"), "{}", shown.stdout);
    }
}
