//! The user and group of workers: read from a file and looked up on this machine.

use super::*;
use crate::os::account::{Account, Identity, Refused};
use crate::os::child::CoreLimit;

/// Looks up accounts on a machine that has the user `web` and the group `mail`.
fn lookup(user: Option<&Account>, group: Option<&Account>) -> Result<Identity, Refused> {
    let is_known = |account: Option<&Account>, name: &str| match account {
        Some(Account::Name(one)) => one == name,
        _ => true,
    };
    let refused = |key| Err(Refused { key, message: format!("no such {key}"), label: Some("write another".into()) });
    match (is_known(user, "web"), is_known(group, "mail")) {
        (false, _) => refused("user"),
        (_, false) => refused("group"),
        _ => Ok(Identity { change: None, login: None, owner: Some(33) }),
    }
}

fn here(body: &str) -> Result<PoolConfig, Problems> {
    let text = format!("[pool.a]\ncommand = [\"x\"]\n{body}");
    let loaded = load(&Sources { accounts: Some(lookup), ..file(&text) })?;
    Ok(loaded.config.pools.into_iter().next().expect("a pool"))
}

#[test]
fn names_and_numbers_are_told_apart_and_looked_up() {
    let pool = here("user = 'web'\ngroup = 'gid:8'").expect("good");
    assert_eq!((pool.user, pool.group), (Some(Account::Name("web".into())), Some(Account::Id(8))));
    assert_eq!(pool.identity.and_then(|identity| identity.owner), Some(33));
    let pool = here("user = 'uid:0'").expect("good");
    assert_eq!(pool.user, Some(Account::Id(0)));
    assert_eq!(here("").expect("good").identity, None, "no user and no group: nothing is looked up");
}

#[test]
fn only_digits_are_a_number() {
    for text in ["uid:0day", "uid:0x0", "uid:+5", "uid:-1", "uid: 5", "uid:", "uid:4294967295", "gid:5", "a:b", ":5"] {
        let told = here(&format!("user = '{text}'")).expect_err(text).to_string();
        assert!(told.contains(&format!("`{text}` is neither a name nor a number")), "{told}");
        assert!(told.contains("a number is written \"uid:1000\""), "{told}");
    }
}

#[test]
fn unknown_account_is_an_error_at_its_position() {
    for (body, place, key) in
        [("user = 'wbe'", "f.toml:3:8", "user"), ("user = 'web'\ngroup = 'mial'", "f.toml:4:9", "group")]
    {
        let problems = here(body).expect_err(body);
        let told = problems.to_string();
        assert!(
            told.contains(&format!("error: no such {key}\n --> {place}")) && told.contains("write another"),
            "{told}"
        );
        assert_eq!(problems.code(), 78);
    }
    let text = "[pool.a]\ncommand = ['x']\n";
    let sets = vec!["pool.a.user=wbe".to_owned()];
    let problems = load(&Sources { accounts: Some(lookup), sets, ..file(text) }).expect_err("refused");
    assert!(problems.to_string().contains("pool.a.user=wbe"), "{problems}");
}

#[test]
fn limits_and_rights_are_read_and_shown_again() {
    let body = "user = 'uid:33'\nno-new-privs = false\nlimit-nofile = 4096\nlimit-core = 0\n";
    let pool = here(body).expect("good");
    assert_eq!((pool.no_new_privs, pool.limit_nofile, pool.limit_core), (false, Some(4096), Some(CoreLimit::Bytes(0))));
    let text = crate::config::show(&Config { pools: vec![pool], ..Config::default() }, None);
    for line in ["user = \"uid:33\"", "no-new-privs = false", "limit-nofile = 4096", "limit-core = \"off\""] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let unlimited = here("limit-core = 'unlimited'").expect("good");
    assert_eq!(unlimited.limit_core, Some(CoreLimit::Unlimited));
    let sets = vec!["pool.a.no-new-privs=false".to_owned()];
    let loaded = load(&Sources { sets, ..file("[pool.a]\ncommand = ['x']\n") }).expect("good");
    assert!(!loaded.config.pools[0].no_new_privs);
}
