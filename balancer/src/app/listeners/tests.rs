//! Rules for listeners that stay, come and go; and real listeners on the data threads.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use roundelay_test_kit::in_async;
use tokio::time::timeout;

use super::*;
use crate::config::Program;
use crate::dispatch::Limits;
use crate::rotation::AcceptState;
use crate::stats::AcceptLimit;

fn list(addresses: &[&str]) -> Vec<Address> {
    addresses.iter().map(|text| text.parse().unwrap()).collect()
}

/// Writes the listeners that stay, come and go as `=`, `+` and `-`.
fn turn(old: &[&str], new: &[&str]) -> String {
    let mut open = listeners(&list(old));
    let matched = match_up(&mut open, listeners(&list(new)));
    let stays_or_comes = matched.iter().map(|one| match one {
        Ok(public) => format!("={}", public.said),
        Err(public) => format!("+{}", public.said),
    });
    let goes = open.iter().map(|public| format!("-{}", public.said));
    stays_or_comes.collect::<Vec<_>>().into_iter().chain(goes).collect::<Vec<_>>().join(" ")
}

#[test]
fn address_listed_again_stays_and_others_come_and_go() {
    assert_eq!(turn(&["1.1.1.1:1"], &["1.1.1.1:1"]), "=1.1.1.1:1");
    assert_eq!(turn(&["1.1.1.1:1", "unix:/a"], &["unix:/b", "1.1.1.1:1"]), "+unix:/b =1.1.1.1:1 -unix:/a");
    assert_eq!(turn(&["1.1.1.1:1"], &["1.1.1.1:2"]), "+1.1.1.1:2 -1.1.1.1:1");
}

#[test]
fn listed_port_0_keeps_the_port_that_was_found() {
    let any = "127.0.0.1:0";
    assert_eq!(turn(&[any], &[any]), "=127.0.0.1:0");
    assert_eq!(turn(&[any], &[any, any]), "=127.0.0.1:0 +127.0.0.1:0");
    assert_eq!(turn(&[any, any], &[any]), "=127.0.0.1:0 -127.0.0.1:0");
}

#[test]
fn passed_name_stands_for_all_listeners_of_it() {
    assert_eq!(turn(&["fd:web", "fd:web", "1.1.1.1:1"], &["fd:web"]), "=fd:web =fd:web -1.1.1.1:1");
    assert_eq!(turn(&["fd:web", "fd:web"], &["1.1.1.1:1"]), "+1.1.1.1:1 -fd:web -fd:web");
}

#[test]
fn passed_listener_that_a_reload_names_is_refused() {
    let failure = listen::at_reload(&Address::Passed("web".to_owned()), &config::PoolConfig::new("a", Program::Demo));
    assert!(failure.unwrap_err().to_string().contains("passed to a master when it is started"));
}

#[test]
fn v6_wildcard_for_other_families_is_another_listener() {
    assert_eq!(turn(&["[::]:1"], &["[::]:1", "0.0.0.0:1"]), "+[::]:1 +0.0.0.0:1 -[::]:1");
    assert_eq!(turn(&["[::]:1", "0.0.0.0:1"], &["0.0.0.0:1", "[::]:1"]), "=0.0.0.0:1 =[::]:1");
}

/// Returns the listeners of a pool on one data thread, which rejects all clients.
fn stand() -> (Arc<PublicListeners>, Arc<Pool>, config::PoolConfig) {
    let mut config = config::PoolConfig::new("a", Program::Demo);
    config.listen = list(&["127.0.0.1:0"]);
    let listener = listen::at_reload(&config.listen[0], &config).unwrap();
    let pool = Arc::new(Pool::new(config.clone(), 1, 1, vec![listener.address().clone()]));
    pool.rotation.set_accept_state(AcceptState::Reject);
    let served = vec![(Arc::clone(&pool), vec![listener])];
    let limits = Limits { max_connections: 10, set_by: AcceptLimit::MasterMaxConnections };
    let data = DataThreads::start(1, served, limits, drop).unwrap();
    (PublicListeners::new(Arc::new(data), &[(Arc::clone(&pool), config.listen.clone())]), pool, config)
}

/// Waits until no process listens there. A process that another test is just forking may hold a socket of ours for a
/// moment.
async fn is_closed(at: SocketAddr) {
    in_async::wait_until("nobody listens", || TcpStream::connect(at).is_err()).await;
}

fn at(pool: &Pool, index: usize) -> SocketAddr {
    match pool.listening()[index] {
        Address::Tcp(at) => at,
        ref other => panic!("{other}"),
    }
}

#[tokio::test]
async fn pool_lists_its_addresses_after_each_change() {
    let (listeners, pool, mut config) = stand();
    let first = at(&pool, 0);
    config.listen = list(&["127.0.0.1:0", "127.0.0.1:0"]);
    let pending = Arc::clone(&listeners).open(0, &config).unwrap();
    assert_eq!(pool.listening().len(), 1, "only bound");
    drop(pending.activate().unwrap());
    assert_eq!((pool.listening().len(), at(&pool, 0)), (2, first));
    let second = at(&pool, 1);
    config.listen.pop();
    let closing = Arc::clone(&listeners).open(0, &config).unwrap().activate().unwrap();
    timeout(Duration::from_secs(20), closing).await.unwrap();
    assert_eq!(pool.listening().as_slice(), [Address::Tcp(first)]);
    is_closed(second).await;
    let mut turned_away = TcpStream::connect(first).unwrap();
    turned_away.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(!matches!(turned_away.read(&mut [0]), Ok(1..)));
}

#[tokio::test]
async fn dropped_listeners_close_and_own_address_is_named_as_ours() {
    let (listeners, pool, mut config) = stand();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let new = free.local_addr().unwrap();
    drop(free);
    config.listen = vec![Address::Tcp(new)];
    let pending = Arc::clone(&listeners).open(0, &config).unwrap();
    assert!(TcpStream::connect(new).is_ok(), "its clients wait");
    drop(pending);
    is_closed(new).await;
    assert_eq!(pool.listening().len(), 1);
    // The address of another pool, for example.
    config.listen = vec![Address::Tcp(at(&pool, 0))];
    let Err(failure) = listeners.open(0, &config) else { panic!("bound twice") };
    assert!(failure.hint.unwrap().starts_with("this master listens there itself"));
    assert!(failure.cause.unwrap().contains(&format!("(pid {})", std::process::id())));
}
