//! The same ways to wait for a test whose peers are tasks of its own runtime: a wait lets them go on.

use std::future::Future;
use std::time::Duration;

use crate::{DEADLINE, Look};

#[doc(inline)]
pub use crate::{__eventually_async as eventually, __eventually_eq_async as eventually_eq};

#[doc(hidden)]
#[macro_export]
macro_rules! __eventually_eq_async {
    ($seen:expr, $wanted:expr $(,)?) => { $crate::__eventually_eq_async!($seen, $wanted, "") };
    ($seen:expr, $wanted:expr, $($message:tt)+) => {{
        let wanted = $wanted;
        let look = $crate::Look::begin();
        loop {
            let seen = $seen;
            if seen == wanted {
                break;
            }
            $crate::in_async::look_again(&look, || {
                format!("`{}` stayed {seen:?} and not {wanted:?} {}", stringify!($seen), format_args!($($message)+))
            }).await;
        }
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __eventually_async {
    ($condition:expr $(,)?) => { $crate::__eventually_async!($condition, "") };
    ($condition:expr, $($message:tt)+) => {{
        let look = $crate::Look::begin();
        while !$condition {
            $crate::in_async::look_again(&look, || {
                format!("`{}` stayed false {}", stringify!($condition), format_args!($($message)+))
            }).await;
        }
    }};
}

/// Pauses before the next look. Panics with the value seen last when the deadline is over.
pub async fn look_again(look: &Look, last_seen: impl FnOnce() -> String) {
    look.assert_time_left(last_seen);
    // Always as short: the peers are in this process, so a look is cheap.
    tokio::time::sleep(Duration::from_millis(2)).await;
}

/// Waits until `condition` holds; panics with `what` at the deadline.
pub async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let look = Look::begin();
    while !condition() {
        look_again(&look, || what.to_owned()).await;
    }
}

/// Runs `work`, and panics if it takes longer than the deadline: a test that hangs has failed.
pub async fn within<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(DEADLINE, work).await.expect("hangs")
}

/// Pauses a scripted peer that is slow. No test uses this to wait for an event: the words above do that.
pub async fn pauses(time: Duration) {
    tokio::time::sleep(time).await;
}
