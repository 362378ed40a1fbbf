//! Refused configurations: positions and messages.

use super::super::super::frame;
use super::*;

/// Returns the problems as `LINE:COLUMN MESSAGE | LABEL`, one line each.
fn refusals(text: &str) -> Vec<String> {
    let sources = file(text);
    let Err(problems) = load(&sources) else { return vec!["ok".to_owned()] };
    let source = sources.file.as_ref().expect("a file");
    let line = |problem: &Problem| {
        let position = match &problem.position {
            Position::File(span) => frame::position(source, span.start).replace("f.toml:", ""),
            other => format!("{other:?}"),
        };
        let also = match &problem.also {
            Some(Position::File(span)) => {
                format!(" (see {})", frame::position(source, span.start).replace("f.toml:", ""))
            }
            _ => String::new(),
        };
        let label = problem.label.as_ref().map_or_else(String::new, |label| format!(" | {label}"));
        format!("{position} {}{label}{also}", problem.message)
    };
    problems.iter().map(line).collect()
}

/// Returns the problems of a pool that is valid otherwise. `body` begins on line 3.
fn in_pool(body: &str) -> Vec<String> {
    refusals(&format!("[pool.a]\ncommand = [\"x\"]\n{body}"))
}

#[test]
fn unknown_keys_are_refused() {
    for (text, expected) in [
        ("[mastr]\n", "1:2 unknown section `mastr` | did you mean [master]?"),
        ("[pools.a]\n", "1:2 unknown section `pools` | did you mean [pool.NAME]?"),
        ("[api]\ncommand = ['x']\n", "1:2 unknown section `api` | a pool is [pool.api]"),
        ("workers = 4\n", "1:1 unknown key `workers` | it belongs in [pool.NAME]"),
        ("answer = 42\n", "1:1 unknown key `answer`"),
        ("pool = 1\n", "1:1 `pool` must be a table | write [pool.NAME]"),
        ("log = 'debug'\n", "1:7 `log` must be a table | write log = { level = … }"),
        ("[pool]\nworkers = 4\n", "2:1 `workers` stands in [pool], which has no name | write [pool.NAME] above it"),
        ("[pool.a]\ncomand = ['x']\n", "2:1 unknown key `comand` in [pool.a] | did you mean `command`?"),
    ] {
        assert_eq!(refusals(text), [expected], "{text}");
    }
    for (body, expected) in [
        ("stratgy = 'p2c'", "3:1 unknown key `stratgy` in [pool.a] | did you mean `strategy`?"),
        ("drain_timeout = '1s'", "3:1 unknown key `drain_timeout` in [pool.a] | did you mean `drain-timeout`?"),
        ("interval = '1s'", "3:1 unknown key `interval` in [pool.a] | did you mean `health.interval`?"),
        ("spawn-rate = 3", "3:1 unknown key `spawn-rate` in [pool.a] | did you mean `spawn-rate` of [master]?"),
        ("health.intervall = '1s'", "3:8 unknown key `intervall` in [pool.a.health] | did you mean `interval`?"),
        ("frobnicate = 1", "3:1 unknown key `frobnicate` in [pool.a]"),
        (
            "assignment_timeout = '1s'",
            "3:1 unknown key `assignment_timeout` in [pool.a] | did you mean `dispatch-timeout`?",
        ),
        ("contract = 'node'", "3:1 unknown key `contract` in [pool.a] | did you mean `socket-passing`?"),
        ("restart.budget = 3", "3:9 unknown key `budget` in [pool.a.restart] | did you mean `max-exits`?"),
        ("health = '/up'", "3:10 `health` must be a table | write health = { probe = … }"),
    ] {
        assert_eq!(in_pool(body), [expected], "{body}");
    }
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    let workers =
        "3:11 workers must be \"auto\", \"max\", a count from 1 to 1024, or a negative number of CPUs to leave free";
    let duration = "must be a duration above 0, such as \"250ms\" or \"1m 30s\"";
    for (body, expected) in [
        ("workers = 'lots'", workers.to_owned()),
        ("workers = 0", workers.to_owned()),
        ("workers = 1025", workers.to_owned()),
        ("workers = 2.5", workers.to_owned()),
        ("workers = '2'", workers.to_owned()),
        ("ready = 'Notify'", "3:9 ready must be \"probe\", \"notify\", \"none\", \"listening\" or \"message\" | did you mean `notify`?".to_owned()),
        ("ready-timeout = 30", "3:17 a duration needs a unit | write \"30s\" or \"30ms\"".to_owned()),
        ("ready-timeout = 'soon'", format!("3:17 ready-timeout {duration}")),
        ("connect-timeout = 0", format!("3:19 connect-timeout {duration}")),
        ("idle-timeout = '999y'", "3:16 `999y` is too long | at most 366 days".to_owned()),
        (
            "proxy-protocol = 'V2'",
            "3:18 proxy-protocol must be \"off\", \"v1\" or \"v2\" | did you mean `v2`?".to_owned(),
        ),
        ("proxy-protocol = true", "3:18 proxy-protocol must be \"off\", \"v1\" or \"v2\"".to_owned()),
        ("health.fall = 0", "3:15 health.fall must be a count from 1 to 1000".to_owned()),
        ("health.rise = -1", "3:15 health.rise must be a count from 1 to 1000".to_owned()),
        ("backlog = 0", "3:11 backlog must be a count from 1 to 65535".to_owned()),
        ("max-connections = 0", "3:19 max-connections must be \"off\" or a count from 1 to 10000000".to_owned()),
        ("health.probe = 'up'", "3:16 health.probe must be \"tcp\", \"listen-table\", \"channel\", \"none\" or a path such as \"/health\"".to_owned()),
        (
            "health.probe = '/a b'",
            "3:16 `/a b` cannot stand in a request | write spaces and letters beyond ASCII as %XX".to_owned(),
        ),
        ("drain = 'quiet'", "3:9 drain must be \"auto\", \"signal\", \"idle\" or \"wait\" | did you mean `idle`?".to_owned()),
        ("drain = 'closed'", "3:9 drain must be \"auto\", \"signal\", \"idle\" or \"wait\" | did you mean `wait`?".to_owned()),
        ("strategy = 'rund-robin'", "3:12 unknown strategy `rund-robin` | did you mean `round-robin`?".to_owned()),
        ("strategy = 'least-wating'", "3:12 unknown strategy `least-wating` | did you mean `least-waiting`?".to_owned()),
        ("strategy = 'p3c'", "3:12 unknown strategy `p3c` | did you mean `p2c`?".to_owned()),
        (
            "strategy = 'weighted'",
            "3:12 unknown strategy `weighted` | there is `round-robin`, `least-waiting`, `least-connections`, `p2c`, \
             `random`, `source-hash`"
                .to_owned(),
        ),
        ("weights = 2", "3:11 weights must be a list of weights by slot, such as [2, 1]".to_owned()),
        ("weights = [2, 0]", "3:15 a weight is a count from 1 to 1000".to_owned()),
        ("weights = [1001]", "3:12 a weight is a count from 1 to 1000".to_owned()),
        ("weights = [1.5]", "3:12 a weight is a count from 1 to 1000".to_owned()),
        ("slow-start = 10", "3:14 a duration needs a unit | write \"10s\" or \"10ms\"".to_owned()),
        ("mode = 'proxi'", "3:8 unknown mode `proxi` | did you mean `proxy`?".to_owned()),
        (
            "mode = 'magic'",
            "3:8 unknown mode `magic` | there is `proxy`, `handoff`, `shared`, `reuseport`".to_owned(),
        ),
        (
            "log.to = 'stdot'",
            "3:10 log.to must be \"stdout\", \"off\" or the path of a file | did you mean \"stdout\"? A file of that name is \
             \"./stdot\""
                .to_owned(),
        ),
        (
            "log.to = 'stderr'",
            "3:10 `stderr` is not a place for both streams | with \"stdout\" each stream goes to the master's own; a file of \
             that name is \"./stderr\""
                .to_owned(),
        ),
        ("log.to = ''", "3:10 log.to must be \"stdout\", \"off\" or the path of a file".to_owned()),
        ("log.format = 'jsn'", "3:14 log.format must be \"text\" or \"json\" | did you mean `json`?".to_owned()),
        ("log.max-size = '1KiB'", "3:16 1KiB is too small for a log file | at least 128KiB".to_owned()),
        ("log.keep = 101", "3:12 log.keep must be a count from 0 to 100".to_owned()),
        ("log.level = 'info'", "3:5 unknown key `level` in [pool.a.log] | did you mean `level` of [log]?".to_owned()),
        ("env = { A = 1 }", "3:13 the variable `A` must be a string | put it in quotes".to_owned()),
        ("env = { 'A=' = '' }", "3:9 `A=` cannot name a variable | no `=` and not empty".to_owned()),
        (
            "restart.give-up = 'exti'",
            "3:19 restart.give-up must be \"never\" or \"exit\" | did you mean `exit`?".to_owned(),
        ),
        ("cwd = ''", "3:7 cwd must be the path of a directory".to_owned()),
        ("user = 33", "3:8 a bare number is no name | write \"uid:33\"".to_owned()),
        ("user = '33'", "3:8 a bare number is no name | write \"uid:33\"".to_owned()),
        ("group = 0", "3:9 a bare number is no name | write \"gid:0\"".to_owned()),
        ("user = ''", "3:8 user must be the name of a user, or \"uid:1000\"".to_owned()),
        ("user = true", "3:8 user must be the name of a user, or \"uid:1000\"".to_owned()),
        ("no-new-privs = 1", "3:16 no-new-privs must be true or false".to_owned()),
        ("no-new-privs = 'true'", "3:16 no-new-privs must be true or false | write true without quotes".to_owned()),
        ("limit-nofile = 3", "3:16 limit-nofile must be \"inherited\" or a count from 16 to 1000000000".to_owned()),
        (
            "limit-core = -1",
            "3:14 limit-core must be \"inherited\", \"off\", \"unlimited\" or a number of bytes".to_owned(),
        ),
    ] {
        assert_eq!(in_pool(body), [expected], "{body}");
    }
    for (text, expected) in [
        ("command = 'node app.js'", "2:11 `command` must be a list: no shell reads it | write [\"node\", \"app.js\"]"),
        ("command = []", "2:11 command must be a list of strings: the program, then its arguments"),
        ("command = ['node', 1]", "2:11 command must be a list of strings: the program, then its arguments"),
        ("workers = 2", "1:7 pool `a` has no `command` | add command = [\"node\", \"app.js\"]"),
    ] {
        assert_eq!(refusals(&format!("[pool.a]\n{text}\n")), [expected], "{text}");
    }
    let master = |body: &str| in_pool(&format!("[master]\n{body}\n"));
    assert_eq!(master("threads = 257"), ["4:11 threads must be \"auto\" or a count from 1 to 256"]);
    assert_eq!(master("spawn-rate = 0"), ["4:14 spawn-rate must be a count from 1 to 10000"]);
}

#[test]
fn wrong_addresses_are_refused() {
    let long = format!("listen = 'unix:/{}'", "x".repeat(107));
    for (body, expected) in [
        (
            "listen = '8080'",
            "3:10 `8080` is not an address: write 127.0.0.1:8080, [::1]:8080, :8080 (all interfaces) or unix:/path",
        ),
        (
            "listen = [':80', 'localhost:81']",
            "3:18 `localhost:81` names a host: a listener takes an IP address, such as 127.0.0.1:81",
        ),
        ("listen = []", "3:10 listen must be an address such as \"127.0.0.1:8080\", a list of them, or \"app\""),
        ("listen = 8080", "3:10 listen must be an address such as \"127.0.0.1:8080\", a list of them, or \"app\""),
        ("listen = [':80', 80]", "3:18 an address must be a string"),
        (&long, "3:10 a unix socket's path may have 107 bytes, and this one has 108"),
        ("listen = [':80', ':80']", "3:18 pool `a` lists [::]:80 twice (see 3:11)"),
        (
            "listen = ['0.0.0.0:80', '127.0.0.1:80']",
            "3:25 pool `a` lists 127.0.0.1:80, which 0.0.0.0:80 overlaps (see 3:11)",
        ),
        (
            "[pool.b]\ncommand = ['y']",
            "3:7 pools `a` and `b` both listen on 127.0.0.1:8080 | give each pool its own `listen` (see 1:7)",
        ),
        (
            "listen = ':9900'",
            "3:10 pool `a` listens on [::]:9900, which the admin port 127.0.0.1:9900 needs | give [admin] another `listen`, or \"off\"",
        ),
        ("listen = 'unix:/s'\n[master]\ncontrol = '/s'", "3:10 pool `a` listens on the control socket /s (see 5:11)"),
        (
            "[admin]\nlisten = '[::ffff:1.2.3.4]:1'",
            "4:10 the admin port [::ffff:1.2.3.4]:1 could be reached from other machines, and it asks nobody who they are | use a loopback address such as 127.0.0.1:9900",
        ),
        (
            "[admin]\nlisten = 'unix:/a'",
            "4:10 the admin port is a TCP address | the unix listener is `control` in [master]",
        ),
    ] {
        assert_eq!(in_pool(body), [expected], "{body}");
    }
}

#[test]
fn contradicting_options_are_refused() {
    for (body, expected) in [
        ("min-ready = 3\nworkers = 2", "3:13 min-ready (3) is more than the pool's workers (2 at most) (see 4:11)"),
        ("min-ready = 5", "3:13 min-ready (5) is more than the pool's workers (4 at most) (see 1:7)"),
        (
            "health = { interval = '1s', timeout = '3s' }",
            "3:39 health.timeout (3s) is longer than health.interval (1s) (see 3:23)",
        ),
        ("restart.backoff = '1m'", "3:19 restart.backoff (1m) is longer than restart.backoff-max (30s) (see 1:7)"),
        ("connect-timeout = '4s'", "3:19 connect-timeout (4s) is longer than dispatch-timeout (3s) (see 1:7)"),
        ("keepalive = '10h'", "3:13 keepalive (10h) is outside of what TCP takes | 1s to 9h, or \"off\""),
        ("keepalive = '500ms'", "3:13 keepalive (500ms) is outside of what TCP takes | 1s to 9h, or \"off\""),
        (
            "weights = [1, 2, 3]\nworkers = 2",
            "3:11 weights has 3 entries, and the pool at most 2 workers | one a worker, by slot (see 4:11)",
        ),
        (
            "mode = 'handoff'\nendpoint = 'unix'",
            "4:12 in mode `handoff` the workers are handed their connections, and there is no private endpoint | remove it (see 3:8)",
        ),
    ] {
        assert_eq!(in_pool(body), [expected], "{body}");
    }
    let shared = in_pool("strategy = 'round-robin'\nmode = 'shared'");
    assert_eq!(
        shared,
        [
            "3:12 in mode `shared` the workers accept, so the kernel chooses and `strategy` has no say | remove it (see 4:8)",
        ]
    );
    for (body, expected) in [
        ("mode = 'shared'", "ok"),
        ("mode = 'shared'\nready = 'none'", "ok"),
        (
            "mode = 'shared'\nready = 'probe'",
            "4:9 in mode `shared` the workers accept by themselves, and there is no private endpoint to probe | \
             write \"notify\" if the program says READY=1, else \"none\" (see 3:8)",
        ),
        (
            "mode = 'shared'\nhealth.probe = 'tcp'",
            "4:16 in mode `shared` the workers accept by themselves, and a probe could not tell which of them answers | \
             remove it (see 3:8)",
        ),
        (
            "mode = 'shared'\nendpoint = 'unix'",
            "4:12 in mode `shared` the workers accept by themselves, and there is no private endpoint | remove it (see 3:8)",
        ),
        ("mode = 'reuseport'", "ok"),
        (
            "listen = [':80', 'unix:/run/a']\nmode = 'reuseport'",
            "3:18 in mode `reuseport` each worker has a listener of its own on the public address, and there can be only one \
             at unix:/run/a | use mode `shared`, or a TCP address (see 4:8)",
        ),
        (
            "socket-passing = 'node'",
            "3:18 in mode `proxy` nothing is handed over: a Node application listens on $PORT | remove it, or use mode = \"handoff\", in which it listens where it wants (see 1:7)",
        ),
    ] {
        assert_eq!(in_pool(body), [expected], "{body}");
    }
    assert_eq!(in_pool("ready = 'none'\nhealth.probe = '/up'"), ["ok"]);
}

#[test]
fn wrong_pool_names_are_refused() {
    let label = "1 to 32 letters, digits, `-` and `_`";
    for name in ["a b", "a.b", "", "ä", &"x".repeat(33)] {
        let text = format!("[pool.\"{name}\"]\ncommand = ['x']\n");
        assert_eq!(refusals(&text), [format!("1:7 `{name}` cannot be a pool's name | {label}")]);
    }
}

#[test]
fn toml_error_is_shown_with_the_line_before() {
    let shown = |text: &str| load(&file(text)).expect_err("refused").to_string();
    let expected = "error: this is not TOML: missing comma between array elements, expected `,`
 --> f.toml:3:1
  |
2 | command = [\"x\"
3 | listen = \":80\"
  | ^ before this, a list lacks a comma or its `]`
1 error in f.toml
";
    assert_eq!(shown("[pool.a]\ncommand = [\"x\"\nlisten = \":80\"\n"), expected);
    for text in
        ["[pool.a\n", "[pool.a]\ncommand = [\"x", "[pool.a]\ncommand =", "{", "[pool.a]\n[pool.a]\n", "a = 1\na = 2\n"]
    {
        assert!(shown(text).contains("error: this is not TOML: ") && shown(text).contains("--> f.toml:"), "{text}");
    }
}

#[test]
fn file_without_a_pool_gets_an_example_of_one() {
    let hint = "hint:  a pool is [pool.NAME] with a `command = [\"node\", \"app.js\"]`\n";
    let shown = |text: &str| load(&file(text)).expect_err("refused").to_string();
    assert_eq!(shown(" \n"), format!("error: the file is empty\n --> f.toml\n{hint}"));
    assert_eq!(shown("[log]\n"), format!("error: there is no pool in the file\n --> f.toml\n{hint}"));
}

#[test]
fn all_problems_are_reported_in_the_order_of_the_file() {
    let text = "[pool.api]\ncommand = [\"node\"]\nstratgy = \"p2c\"\nworkers = \"lots\"\n";
    let expected = "error: unknown key `stratgy` in [pool.api]
 --> f.toml:3:1
  |
3 | stratgy = \"p2c\"
  | ^^^^^^^ did you mean `strategy`?
error: workers must be \"auto\", \"max\", a count from 1 to 1024, or a negative number of CPUs to leave free
 --> f.toml:4:11
  |
4 | workers = \"lots\"
  |           ^^^^^^
2 errors in f.toml
";
    let problems = load(&file(text)).expect_err("refused");
    assert_eq!((problems.to_string().as_str(), problems.code()), (expected, 78));
}

#[test]
fn consequence_of_a_mistake_is_not_reported() {
    let text = "[pool.a]\ncommand = ['x']\nlissten = ':1'\n[pool.b]\ncommand = ['x']\n";
    assert_eq!(refusals(text), ["3:1 unknown key `lissten` in [pool.a] | did you mean `listen`?"]);
}
