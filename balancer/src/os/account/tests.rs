use super::files::Files;
use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# a comment\nweb:x:33:34:Web:/srv/web:/bin/false\nbroken:x\n\
                      odd:x:0day:0:odd:/:/bin/sh\nnone:x:4294967295:5:none:/:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n";
const GROUP: &str = "root:x:0:\nweb:x:34:\nmail:x:8:me,web\nlogs:x:4:web\n";

const ROOT: Master = Master { uid: 0, gid: 0, may_change: true };
const ME: Master = Master { uid: 1000, gid: 1000, may_change: false };

fn account(text: &str) -> Account {
    text.parse().map_or_else(|_| Account::Name(text.to_owned()), Account::Id)
}

fn of(user: Option<&str>, group: Option<&str>, master: Master) -> Result<Identity, String> {
    let (user, group) = (user.map(account), group.map(account));
    let found = resolve(user.as_ref(), group.as_ref(), master, &Files::of(PASSWD, GROUP));
    found.map_err(|refused| format!("{}: {}", refused.key, refused.message))
}

fn change(user: Option<&str>, group: Option<&str>) -> (u32, u32, Vec<u32>) {
    let change = of(user, group, ROOT).unwrap().change.unwrap();
    (change.uid, change.gid, change.groups)
}

#[test]
fn user_sets_groups_home_and_name() {
    assert_eq!(change(Some("web"), None), (33, 34, vec![34, 8, 4]));
    assert_eq!(change(Some("33"), None), (33, 34, vec![34, 8, 4]), "by its number as well");
    let identity = of(Some("web"), None, ROOT).unwrap();
    assert_eq!(identity.login, Some(Login { name: Some("web".into()), home: "/srv/web".into() }));
    assert_eq!(identity.owner, Some(33));
}

#[test]
fn group_key_replaces_primary_group_and_works_alone() {
    assert_eq!(change(Some("web"), Some("mail")), (33, 8, vec![8, 4]));
    assert_eq!(change(None, Some("mail")), (0, 8, vec![8]), "none of the master's own groups is left");
    let identity = of(None, Some("mail"), ROOT).unwrap();
    assert_eq!((identity.login, identity.owner), (None, None));
}

#[test]
fn unknown_uid_needs_a_group() {
    let told = of(Some("4242"), None, ROOT).unwrap_err();
    assert_eq!(told, "user: user `uid:4242` is in no database, so nothing says its group");
    assert_eq!(change(Some("4242"), Some("4343")), (4242, 4343, vec![4343]));
    let identity = of(Some("4242"), Some("4343"), ROOT).unwrap();
    assert_eq!(identity.login, Some(Login { name: None, home: "/".into() }));
}

#[test]
fn unknown_account_is_refused_and_never_becomes_master() {
    for (user, group, told) in [
        (Some("wbe"), None, "user: there is no user `wbe` on this machine"),
        (Some("0day"), None, "user: there is no user `0day` on this machine"),
        (Some("odd"), None, "user: there is no user `odd` on this machine"),
        (Some(""), None, "user: there is no user `` on this machine"),
        (Some("none"), None, "user: 4294967295 is no number of a user"),
        (Some("4294967295"), Some("0"), "user: 4294967295 is no number of a user"),
        (None, Some("4294967295"), "group: 4294967295 is no number of a group"),
        (Some("web"), Some("mial"), "group: there is no group `mial` on this machine"),
    ] {
        assert_eq!(of(user, group, ROOT).unwrap_err(), told);
    }
}

#[test]
fn unprivileged_master_can_only_keep_its_user() {
    let told = |user, group| of(user, group, ME).unwrap_err();
    assert_eq!(told(Some("web"), None), "user: uid 1000 may not run workers as user `web`");
    assert_eq!(told(None, Some("mail")), "group: uid 1000 may not run workers as group `mail`");
    assert_eq!(told(Some("me"), Some("mail")), "group: uid 1000 may not run workers as group `mail`");
    let same = of(Some("me"), None, ME).unwrap();
    assert_eq!((same.change, same.owner), (None, None));
    assert_eq!(same.login.unwrap().name.as_deref(), Some("me"));
    // Root without the needed capabilities counts as any other user.
    let tied = Master { may_change: false, ..ROOT };
    assert_eq!(of(Some("web"), None, tied).unwrap_err(), "user: uid 0 may not run workers as user `web`");
}

#[test]
fn user_in_many_groups_gets_all_of_them() {
    let group: String = (0..400).map(|n| format!("g{n}:x:{}:web,me\n", 5000 + n)).collect();
    let web = Account::Name("web".into());
    let found = resolve(Some(&web), None, ROOT, &Files::of(PASSWD, &group)).unwrap();
    let groups = found.change.unwrap().groups;
    assert_eq!(groups.len(), 401);
    assert!((5000..5400).all(|gid| groups.contains(&gid)));
}
