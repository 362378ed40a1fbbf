//! The checker: load that checks every answer and reports the class of each failure.
//!
//! It is the proof of Roundelay's promises: a graceful reload, a killed or hung worker, and a change of scale lose no
//! connection. Usual load generators cannot prove that. They do not check the bytes that come back, they wait for a
//! stalled server before they send again, or they stop at the first error. Here:
//!
//! - Operations start by a fixed schedule (an *open loop*). A server that stalls for half a second delays every
//!   operation that was due meanwhile, and all of these delays show, since latency counts from the intended start.
//! - Every operation carries a token of its own, and every byte that comes back is compared.
//! - Every failure has a [`Class`]: refused, reset or ended, before or within the answer, on a new or a kept connection.
//!   To see these differences the HTTP part is written by hand, down to the system calls.
//! - Operations that the generator itself could not carry out are counted, and make the result void, not good.
//!
//! # In a test
//!
//! ```no_run
//! use roundelay_checker::{Allowance, Load, Plan, Target};
//!
//! # fn reload() {}
//! let target: Target = "127.0.0.1:8080".parse()?;
//! let load = Load::start(Plan {
//!     kinds: "one-shot=8,keep-alive=2".parse()?,
//!     rate: 1000.0,
//!     length: roundelay_checker::Length::UntilStopped,
//!     ..Plan::new(target)
//! })?;
//! while load.so_far().good() < 500 {
//!     std::thread::sleep(std::time::Duration::from_millis(10));
//! }
//! reload();
//! let record = load.stop();
//! record.analyse(&Allowance::none())?; // names the first failures: when, which token, what was seen
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The load runs on a thread of its own. A [`Plan`] describes it completely, [`Load::so_far`] shows its progress, and
//! the [`Record`] is its result. Analyse a record only after the end of the load: before that, open operations count as
//! lost. With more than a few hundred open operations, make sure that the process may open enough descriptors. If
//! descriptors or ports run out, the verdict is void.
//!
//! A generator of your own that has to tell failures apart in the same way can use these parts: [`classify`],
//! [`Chunked`] and [`Pace`].
//!
//! # The map
//!
//! A module uses only modules above it in this list, and its own folder. Pure modules open no sockets and read no
//! clock.
//!
//! | module | what it is | |
//! |---|---|---|
//! | `content` | tokens, and the bytes that are sent and must come back | pure |
//! | `client_kinds` | the kinds of clients as values; its submodules run them and use all modules but `load` | |
//! | `failure` | the classes of failures, and the class of one failure | pure |
//! | `latency`, `silence` | a histogram; the longest time without a good answer | pure |
//! | `record`, `analysis` | the results of a load, and whether they are allowed | pure |
//! | `plan`, `schedule` | the operations of a load, and their times | pure |
//! | `answer`, `request` | HTTP/1.1 and raw bytes: the answer that must come back, the request that is sent | pure |
//! | `connection`, `exchange`, `pool`, `recorder`, `pace` | sockets, kept connections, the shared record, the clock | |
//! | `load` | the open loop, and its handle | |
//! | `report` | the table and the JSON | pure |

mod analysis;
mod answer;
mod client_kinds;
mod connection;
mod content;
mod exchange;
mod failure;
mod latency;
mod load;
mod pace;
mod plan;
mod pool;
mod record;
mod recorder;
pub mod report;
mod request;
mod schedule;
mod silence;

pub use analysis::{Allowance, CheckResult};
pub use answer::Chunked;
pub use client_kinds::{ClientKind, Mix};
pub use content::Token;
pub use failure::{Class, End, Failure, Stage, classify, is_own_limit};
pub use latency::Latency;
pub use load::Load;
pub use pace::Pace;
pub use plan::{Ask, Length, Paths, Plan, PlanError, Protocol, Session, Slow, Target};
pub use record::{KeptRecord, KindRecord, Record};
