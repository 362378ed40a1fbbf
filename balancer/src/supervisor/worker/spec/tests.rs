use super::*;
use crate::os::account::{Account, Credentials, Login};
use crate::os::child::CoreLimit;

fn worker(pool: &config::PoolConfig, inherited: &[(&str, &str)]) -> Spec {
    worker_on(pool, &Endpoint::Tcp(([127, 0, 0, 1], 20_001).into()), &[], inherited)
}

fn worker_on(
    pool: &config::PoolConfig,
    endpoint: &Endpoint,
    listen: &[Arc<OwnedFd>],
    inherited: &[(&str, &str)],
) -> Spec {
    let notify = Path::new("/run/n");
    let spawn_context =
        SpawnContext { slot: SlotId(2), workers: 4, generation: 3, endpoint, notify, listen, channel: None };
    let inherited: Vec<_> = inherited.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let start_dir = Some(Path::new("/srv/current"));
    spec(pool, &spawn_context, &Surroundings { inherited: &inherited, start_dir, nofile: Some(1024) }).unwrap()
}

fn value<'a>(spec: &'a Spec, name: &str) -> Vec<&'a str> {
    spec.env.iter().filter(|(other, _)| other == name).filter_map(|(_, value)| value.to_str()).collect()
}

#[test]
fn worker_environment_has_port_slot_and_pool() {
    let command = Program::Command(vec!["python3".into(), "-m".into(), "http.server".into(), "{port}".into()]);
    let spec = worker(&config::PoolConfig::new("api", command), &[("PATH", "/bin")]);
    assert_eq!((spec.program.to_str(), spec.nofile), (Some("python3"), Some(1024)));
    assert_eq!(spec.args, ["-m", "http.server", "20001"]);
    for (name, expected) in [
        ("PATH", "/bin"),
        ("PORT", "20001"),
        ("HOST", "127.0.0.1"),
        ("ROUNDELAY_POOL", "api"),
        ("ROUNDELAY_WORKER", "2"),
        ("ROUNDELAY_WORKERS", "4"),
        ("ROUNDELAY_GENERATION", "3"),
        ("NODE_APP_INSTANCE", "2"),
        ("NOTIFY_SOCKET", "/run/n"),
    ] {
        assert_eq!(value(&spec, name), [expected], "{name}");
    }
}

#[test]
fn worker_pwd_is_the_logical_name_of_its_directory() {
    for (cwd, pwd) in [
        (None, &["/srv/current"][..]),
        (Some("app"), &["/srv/current/app"]),
        (Some("/app"), &["/app"]),
        (Some("../app"), &[]),
    ] {
        let pool = config::PoolConfig { cwd: cwd.map(PathBuf::from), ..config::PoolConfig::new("api", Program::Demo) };
        let spec = worker(&pool, &[("PWD", "/srv/releases/1")]);
        assert_eq!(value(&spec, "PWD"), pwd);
        assert_eq!((spec.start_dir.as_deref(), spec.cwd), (Some(Path::new("/srv/current")), pool.cwd));
    }
    let pool = config::PoolConfig {
        env: [("PWD".to_owned(), "/own".to_owned())].into(),
        ..config::PoolConfig::new("api", Program::Demo)
    };
    assert_eq!(value(&worker(&pool, &[]), "PWD"), ["/own"]);
}

#[test]
fn variables_given_to_master_as_a_worker_are_not_passed_on() {
    let ours = [
        ("NOTIFY_SOCKET", "/systemd"),
        ("LISTEN_FDS", "2"),
        ("LISTEN_PID", "1"),
        ("WATCHDOG_USEC", "1"),
        ("NODE_CHANNEL_FD", "3"),
        ("ROUNDELAY_SET", "secret"),
        ("PORT", "80"),
    ];
    let spec = worker(&config::PoolConfig::new("api", Program::Demo), &ours);
    assert_eq!(value(&spec, "NOTIFY_SOCKET"), ["/run/n"]);
    assert_eq!(value(&spec, "PORT"), ["20001"]);
    assert_eq!(value(&spec, "WATCHDOG_USEC"), ["1000000"], "its own: `health.heartbeat`");
    for gone in ["LISTEN_FDS", "LISTEN_PID", "NODE_CHANNEL_FD", "ROUNDELAY_SET"] {
        assert!(value(&spec, gone).is_empty(), "{gone}");
    }
}

#[test]
fn unix_endpoint_is_port_and_inherited_endpoint_has_none() {
    let command = Program::Command(vec!["app".into(), "--at={port}".into()]);
    let pool = config::PoolConfig::new("api", command);
    let unix = worker_on(&pool, &Endpoint::Unix("/run/w1".into()), &[], &[]);
    assert_eq!(value(&unix, "PORT"), ["/run/w1"]);
    assert_eq!(unix.args, ["--at=/run/w1"]);

    let socket = Arc::new(OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap()));
    let inherits = worker_on(&pool, &Endpoint::Inherited, &[Arc::clone(&socket), socket], &[("PORT", "80")]);
    assert_eq!(value(&inherits, "LISTEN_FDS"), ["2"]);
    assert_eq!(value(&inherits, "LISTEN_FDNAMES"), ["api:api"]);
    assert!(value(&inherits, "PORT").is_empty() && value(&inherits, "HOST").is_empty());
    assert_eq!(inherits.inherits.descriptors().len(), 2);
}

#[test]
fn worker_with_channel_gets_its_descriptor_and_no_port() {
    let pool = config::PoolConfig::new("api", Program::Command(vec!["node".into(), "app.js".into()]));
    let end = Arc::new(OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap()));
    let with = |node_id| {
        let (endpoint, notify) = (&Endpoint::Channel, Path::new("/run/n"));
        let channel = Some(ChannelEnd { end: &end, node_id });
        let spawn_context =
            SpawnContext { slot: SlotId(0), workers: 1, generation: 1, endpoint, notify, listen: &[], channel };
        let masters = [("PORT", "80"), ("NODE_CHANNEL_SERIALIZATION_MODE", "advanced")];
        let masters = masters.map(|(name, value)| (name.into(), value.into()));
        spec(&pool, &spawn_context, &Surroundings { inherited: &masters, ..Surroundings::default() }).unwrap()
    };
    let (own, node) = (with(None), with(Some(7)));
    assert_eq!((value(&own, "ROUNDELAY_CHANNEL_FD"), value(&own, "NODE_CHANNEL_FD")), (vec!["3"], vec![]));
    let names = ["NODE_CHANNEL_FD", "NODE_UNIQUE_ID", "NODE_CHANNEL_SERIALIZATION_MODE"];
    assert_eq!(names.map(|name| value(&node, name)), [["3"], ["7"], ["json"]]);
    for spec in [own, node] {
        assert!(matches!(spec.inherits, Inherited::Channel(_)));
        assert!(["PORT", "HOST", "LISTEN_FDS"].iter().all(|name| value(&spec, name).is_empty()));
    }
}

#[test]
fn application_that_names_its_address_keeps_the_callers_port() {
    let mut pool = config::PoolConfig::new("api", Program::Command(vec!["node".into(), "app.js".into()]));
    pool.listen.clear();
    let end = Arc::new(OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap()));
    let told = |pool: &config::PoolConfig| {
        let (endpoint, notify) = (&Endpoint::Channel, Path::new("/run/n"));
        let channel = Some(ChannelEnd { end: &end, node_id: Some(1) });
        let spawn_context =
            SpawnContext { slot: SlotId(0), workers: 1, generation: 1, endpoint, notify, listen: &[], channel };
        let masters = [("PORT", "9003"), ("HOST", "::1")].map(|(name, value)| (name.into(), value.into()));
        let spec =
            spec(pool, &spawn_context, &Surroundings { inherited: &masters, ..Surroundings::default() }).unwrap();
        ["PORT", "HOST"].map(|name| value(&spec, name).join(" "))
    };
    assert_eq!(told(&pool), ["9003", "::1"]);
    pool.env.insert("PORT".to_owned(), "3000".to_owned());
    assert_eq!(told(&pool), ["3000", "::1"]);
}

#[test]
fn pool_environment_never_overrides_contract_names() {
    let mut pool = config::PoolConfig::new("api", Program::Demo);
    pool.env = [("LANG", "C"), ("PORT", "3000"), ("NEW", "1")].map(|(k, v)| (k.into(), v.into())).into();
    let spec = worker(&pool, &[("LANG", "de")]);
    assert_eq!((value(&spec, "LANG"), value(&spec, "NEW")), (vec!["C"], vec!["1"]));
    assert_eq!(value(&spec, "PORT"), ["20001"]);
}

#[test]
fn worker_of_another_user_gets_its_name_unless_the_pool_sets_it() {
    let mut pool = config::PoolConfig::new("api", Program::Demo);
    let ours = [("HOME", "/root"), ("USER", "root"), ("LOGNAME", "root")];
    assert_eq!(value(&worker(&pool, &ours), "HOME"), ["/root"]);

    let credentials = Credentials { uid: 33, gid: 34, groups: vec![34] };
    let login = Login { name: Some("web".into()), home: "/srv/web".into() };
    pool.user = Some(Account::Name("web".into()));
    pool.identity = Some(Identity { change: Some(credentials.clone()), login: Some(login), owner: Some(33) });
    pool.env = [("USER".to_owned(), "me".to_owned())].into();
    let spec = worker(&pool, &ours);
    assert_eq!(["HOME", "USER", "LOGNAME"].map(|name| value(&spec, name)), [["/srv/web"], ["me"], ["web"]]);
    assert_eq!((spec.credentials, spec.no_new_privs), (Some(credentials), true));
}

#[test]
fn user_that_was_not_looked_up_never_runs_as_master() {
    let named = Some(Account::Id(33));
    for (user, group) in [(named.clone(), None), (None, named)] {
        let pool = config::PoolConfig { user, group, ..config::PoolConfig::new("api", Program::Demo) };
        let endpoint = Endpoint::Inherited;
        let notify = Path::new("/run/n");
        let spawn_context = SpawnContext {
            slot: SlotId(0),
            workers: 1,
            generation: 1,
            endpoint: &endpoint,
            notify,
            listen: &[],
            channel: None,
        };
        assert!(spec(&pool, &spawn_context, &Surroundings::default()).is_err());
    }
}

#[test]
fn pool_limits_replace_those_of_the_master() {
    let mut pool = config::PoolConfig::new("api", Program::Demo);
    pool.limit_nofile = Some(4096);
    pool.limit_core = Some(CoreLimit::Bytes(0));
    let spec = worker(&pool, &[]);
    assert_eq!((spec.nofile, spec.core), (Some(4096), Some(CoreLimit::Bytes(0))));
}
