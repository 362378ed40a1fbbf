//! The layers: defaults < file < variables < `ROUNDELAY_SET` < flags < `--set`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::super::{Control, FLAGS, LogTarget, ProxyProtocol, Ready, Threads, WorkerCount, show};
use super::*;

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn flag(name: &str, words: &[&str]) -> (Flag, Vec<String>) {
    let flag = FLAGS.into_iter().find(|flag| flag.name == name).expect("a flag");
    (flag, words.iter().map(|&word| word.to_owned()).collect())
}

fn command() -> Sources {
    let program = Program::Command(vec!["node".into(), "app.js".into()]);
    Sources { command: Some(("node".into(), program)), cpus: 4, ..Sources::default() }
}

fn pool(sources: &Sources) -> PoolConfig {
    let loaded = load(sources).unwrap_or_else(|problems| panic!("{problems}"));
    loaded.config.pools.into_iter().next().expect("a pool")
}

fn refusal(sources: &Sources) -> String {
    load(sources).expect_err("refused").to_string()
}

const ONE: &str = "[pool.api]\ncommand = ['x']\nworkers = 3\n";
const TWO: &str = "[pool.b]\ncommand = ['x']\nlisten = ':1'\n[pool.a]\ncommand = ['x']\nlisten = ':2'\n";

#[test]
fn stronger_source_wins() {
    let mut sources = file("[pool.api]\ncommand = ['x']\n");
    assert_eq!(pool(&sources).workers, WorkerCount::Auto);
    sources = file(ONE);
    assert_eq!(pool(&sources).workers, WorkerCount::Count(3));
    sources.env = owned(&[("ROUNDELAY_WORKERS", "4")]);
    assert_eq!(pool(&sources).workers, WorkerCount::Count(4));
    sources.env.extend(owned(&[("ROUNDELAY_SET", "pool.api.workers=5;pool.api.min-ready=2")]));
    assert_eq!((pool(&sources).workers, pool(&sources).min_ready), (WorkerCount::Count(5), 2));
    sources.flags = vec![flag("workers", &["-1"])];
    assert_eq!(pool(&sources).workers, WorkerCount::AllBut(1));
    sources.sets = vec!["pool.api.workers=max".into()];
    assert_eq!(pool(&sources).workers, WorkerCount::Max);
}

#[test]
fn every_flag_and_variable_reaches_its_key() {
    let words = |name: &str| match name {
        "listen" => "127.0.0.1:1",
        "workers" | "threads" => "2",
        "strategy" => "round-robin",
        "mode" => "proxy",
        "endpoint" => "unix",
        "health" => "/up",
        "ready" => "none",
        "proxy-protocol" => "v2",
        "admin" => "off",
        "control" => "/c.sock",
        "log-level" => "debug",
        "log-format" => "json",
        other => panic!("no example for --{other}"),
    };
    let by_flags = Sources { flags: FLAGS.map(|one| flag(one.name, &[words(one.name)])).to_vec(), ..command() };
    let env = FLAGS.map(|one| (one.variable(), words(one.name).to_owned())).to_vec();
    let by_env = Sources { env, ..command() };
    let [flags, env] = [by_flags, by_env].map(|sources| load(&sources).unwrap_or_else(|problems| panic!("{problems}")));
    assert_eq!(flags.config, env.config);
    assert_eq!(env.config.master.control, Control::Path("/c.sock".into()));
    assert_eq!(env.config.master.threads, Threads::Count(2));
    assert_eq!((env.config.admin.listen, env.config.log.level.as_str()), (None, "debug"));
    assert_eq!(env.config.pools[0].proxy_protocol, ProxyProtocol::V2);
    assert_eq!((env.config.pools[0].ready, env.config.pools[0].workers), (Ready::None, WorkerCount::Count(2)));
}

#[test]
fn listen_repeats_as_flag_and_has_commas_in_variable() {
    let printed = |sources: &Sources| pool(sources).listen.iter().map(ToString::to_string).collect::<Vec<_>>();
    let flags = Sources { flags: vec![flag("listen", &[":80", "unix:/a,b"])], ..command() };
    assert_eq!(printed(&flags), ["[::]:80", "unix:/a,b"]);
    let env = Sources { env: owned(&[("ROUNDELAY_LISTEN", ":80, 127.0.0.1:81")]), ..command() };
    assert_eq!(printed(&env), ["[::]:80", "127.0.0.1:81"]);
}

#[test]
fn port_of_the_caller_is_the_address_in_every_mode() {
    for mode in ["proxy", "handoff", "shared", "reuseport"] {
        let listen = |env: &[(&str, &str)], flags: &[&str]| {
            let flags = if flags.is_empty() { vec![] } else { vec![flag("listen", flags)] };
            let flags = flags.into_iter().chain([flag("mode", &[mode])]).collect();
            let pool = pool(&Sources { env: owned(env), flags, ..command() });
            pool.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(listen(&[], &[]), "127.0.0.1:8080", "{mode}");
        assert_eq!(listen(&[("PORT", "")], &[]), "127.0.0.1:8080", "{mode}");
        assert_eq!(listen(&[("PORT", "9003")], &[]), "127.0.0.1:9003", "{mode}");
        assert_eq!(listen(&[("PORT", "9003"), ("ROUNDELAY_LISTEN", ":1")], &[]), "[::]:1", "{mode}");
        assert_eq!(listen(&[("PORT", "nonsense")], &[":2"]), "[::]:2", "{mode}");
    }
    let path = Sources { env: owned(&[("PORT", "/run/w1")]), ..command() };
    assert_eq!(pool(&path).listen, ["unix:/run/w1".parse().expect("an address")]);
}

#[test]
fn port_that_is_no_port_is_refused_with_its_name() {
    let sources = Sources { env: owned(&[("PORT", "tcp://10.0.0.1:80")]), ..command() };
    let expected = "error: `tcp://10.0.0.1:80` is neither a port nor an absolute path (from PORT)\n\
                    hint:  unset PORT, or say where to listen: --listen 127.0.0.1:8080\n";
    assert_eq!(refusal(&sources), expected);
    let two =
        Sources { env: owned(&[("PORT", "9003")]), ..file("[pool.a]\ncommand = ['x']\n[pool.b]\ncommand = ['x']\n") };
    assert!(refusal(&two).contains("both listen on 127.0.0.1:9003"), "{}", refusal(&two));
    assert!(refusal(&two).contains("give each pool its own `listen`"), "{}", refusal(&two));
}

#[test]
fn listen_app_is_for_node_and_stands_alone() {
    let listen = |words: &[&str], mode: &str| {
        load(&Sources { flags: vec![flag("listen", words), flag("mode", &[mode])], ..command() })
            .map(|loaded| loaded.config.pools[0].listen.len())
            .map_err(|problems| problems.to_string())
    };
    assert_eq!([listen(&["app"], "handoff"), listen(&["app"], "shared")], [Ok(0), Ok(0)]);
    let both = listen(&["app", ":80"], "handoff").expect_err("refused");
    assert!(both.contains("`app`, the address that the application asks for, stands alone"), "{both}");
    for mode in ["proxy", "reuseport"] {
        let refused = listen(&["app"], mode).expect_err("refused");
        assert!(refused.contains("is the address that a Node application asks for"), "{refused}");
    }
    let shown = show(
        &load(&Sources { flags: vec![flag("listen", &["app"]), flag("mode", &["handoff"])], ..command() })
            .expect("sound")
            .config,
        None,
    );
    assert!(shown.contains("listen = \"app\""), "{shown}");
}

#[test]
fn port_in_pool_env_warns_only_where_it_is_lost() {
    let warnings = |more: &str| {
        let text = format!("[pool.a]\ncommand = ['node', 'a.js']\nenv = {{ PORT = '3000' }}\n{more}");
        load(&file(&text)).unwrap_or_else(|problems| panic!("{problems}")).warnings.to_string()
    };
    for kept in ["mode = 'handoff'", "mode = 'shared'", "endpoint = 'inherited'"] {
        assert_eq!(warnings(kept), "", "{kept}");
    }
    let lost = warnings("");
    assert!(lost.contains("this value is lost; the public address is `listen`"), "{lost}");
}

#[test]
fn setting_is_toml_or_bare_string_and_adds_to_environment() {
    let mut sources = file("[pool.api]\ncommand = ['x']\nenv = { A = '1', B = '2' }\n");
    let sets = ["pool.api.ready=none", "pool.api.ready-timeout=5s", "pool.api.env.B=3", "pool.api.listen=[':1', ':2']"];
    sources.sets =
        sets.into_iter().chain(["pool.api.health={probe='/h', fall=9}", "log.level=warn"]).map(Into::into).collect();
    let pool = pool(&sources);
    assert_eq!((pool.ready, pool.ready_timeout, pool.listen.len()), (Ready::None, Duration::from_secs(5), 2));
    assert_eq!(pool.env.into_iter().collect::<Vec<_>>(), owned(&[("A", "1"), ("B", "3")]));
    assert_eq!(pool.health.fall, 9);
}

#[test]
fn pool_flag_with_several_pools_is_refused() {
    let mut sources = file(TWO);
    sources.flags = vec![flag("log-level", &["debug"])];
    assert!(load(&sources).is_ok());
    sources.flags = vec![flag("workers", &["3"])];
    let expected = "error: `workers` is an option of one pool, and there are several: a, b (from --workers 3)\n\
                    hint:  write --set pool.a.workers=…\n";
    assert_eq!(refusal(&sources), expected);
    assert_eq!(load(&sources).expect_err("refused").code(), 2);
}

#[test]
fn wrong_flag_or_setting_is_named_and_exits_2() {
    let wrong = |sets: &[&str], flags: Vec<(Flag, Vec<String>)>| {
        let sets = sets.iter().map(|&set| set.to_owned()).collect();
        let problems = load(&Sources { sets, flags, ..file(ONE) }).expect_err("refused");
        assert_eq!(problems.code(), 2, "{problems}");
        problems.to_string()
    };
    assert_eq!(
        wrong(&["pool.apj.workers=4"], vec![]),
        "error: there is no pool `apj` (from --set pool.apj.workers=4)\nhint:  did you mean `api`?\n"
    );
    assert_eq!(
        wrong(&["pool.api.wrokers=4"], vec![]),
        "error: unknown key `wrokers` in [pool.api] (from --set pool.api.wrokers=4)\nhint:  did you mean `workers`?\n"
    );
    assert_eq!(
        wrong(&["workers"], vec![]),
        "error: `workers` has no `=` (from --set workers)\nhint:  write it as pool.NAME.workers=4 or log.level=debug\n"
    );
    assert_eq!(
        wrong(&[], vec![flag("threads", &["0"])]),
        "error: threads must be \"auto\" or a count from 1 to 256 (from --threads 0)\n"
    );
    assert_eq!(
        wrong(&[], vec![flag("mode", &["handof"])]),
        "error: unknown mode `handof` (from --mode handof)\nhint:  did you mean `handoff`?\n"
    );
}

#[test]
fn command_and_file_with_pools_contradict_each_other() {
    let mut sources = Sources { file: file("[log]\nlevel = 'debug'\n").file, ..command() };
    assert_eq!(load(&sources).expect("the file may have other sections").config.log.level, "debug");
    sources.file = file(ONE).file;
    let expected = "error: f.toml already says what to run, and so does the command line
 --> f.toml:1:7
  |
1 | [pool.api]
  |       ^^^ drop one of the two
1 error in f.toml
";
    assert_eq!(refusal(&sources), expected);
}

#[test]
fn demo_on_one_cpu_has_two_workers() {
    let demo = |cpus| pool(&Sources { command: Some(("demo".into(), Program::Demo)), cpus, ..Sources::default() });
    assert_eq!([1, 8].map(|cpus| demo(cpus).workers.resolve(cpus)), [2, 4]);
}

#[test]
fn file_paths_are_relative_to_the_file_and_flag_paths_not() {
    let text = "[master]\ncontrol = 'c.sock'\n[pool.a]\ncommand = ['./x']\ncwd = 'app'\nlog.to = 'a.log'\n";
    let mut sources = file(text);
    if let Some(file) = &mut sources.file {
        file.dir = Some("/etc/r".into());
    }
    let loaded = load(&sources).expect("valid");
    assert_eq!(loaded.config.pools[0].cwd.as_deref(), Some(Path::new("/etc/r/app")));
    assert_eq!(loaded.config.pools[0].log.to, LogTarget::File(PathBuf::from("/etc/r/a.log")));
    assert_eq!(loaded.config.master.control, Control::Path(PathBuf::from("/etc/r/c.sock")));
    sources.sets = vec!["pool.a.cwd=here".into(), "pool.a.log.to=./here".into()];
    assert_eq!(pool(&sources).cwd.as_deref(), Some(Path::new("here")));
    assert_eq!(pool(&sources).log.to, LogTarget::File(PathBuf::from("./here")));
}

#[test]
fn shown_configuration_loads_to_the_same() {
    let text = "[pool.b]\ncommand = ['x', 'a \"b\"', '\\']\nlisten = [':1', 'unix:/s']\nworkers = -2\n\
                idle-timeout = 'off'\nmax-connections = 7\nenv = { A = 'x\"y', 'b c' = '' }\n\
                health = { probe = '/h?a=%20' }\n\
                log = { to = '/l/b.log', format = 'json', max-size = '1536KiB', keep = 0 }\nrestart = { give-up = 'exit' }\n\
                [pool.a]\ncommand = ['y']\ncwd = '/'\n[admin]\nlisten = 'off'\n";
    let first = load(&file(text)).unwrap_or_else(|problems| panic!("{problems}")).config;
    let shown = show(&first, None);
    assert_eq!(load(&file(&shown)).unwrap_or_else(|problems| panic!("{problems}\n{shown}")).config, first);
}
