//! The checker: load that checks every answer, and says of each failure what it was.
//!
//! It is the proof behind the promises of Roundelay: a reload, a killed or hung worker, a change of scale lose no connection.
//! Usual load generators cannot prove that: they do not look at what comes back, wait for a stalled server before they
//! ask again, or stop at the first error. Here
//!
//! - operations start by a fixed schedule (an *open loop*): a server that stalls for half a second delays everything that
//!   was due meanwhile, and all of it shows, since latency counts from the intended start;
//! - every operation carries a token of its own, and every byte that comes back is compared;
//! - every failure has a [`Class`]: refused, reset or ended, before or amid the answer, on a new or a kept connection.
//!   For that the HTTP part is written by hand, down to the system calls;
//! - what the generator itself could not do is counted and makes the result void, not good.
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
//! The load runs on a thread of its own. A [`Plan`] says everything about it, [`Load::so_far`] looks at it under way, and
//! the [`Record`] is what it found. Analyse a record after the end of the load: before, what is still under way counts as
//! lost. With more than a few hundred operations under way see to it that the process may open enough descriptors; running
//! out of them or of ports makes the verdict void.
//!
//! Another generator that tells failures apart as this one does finds the parts for it here too: [`classify`], [`Chunked`]
//! and [`Pace`].
//!
//! # The map
//!
//! A module uses what stands above it in this list and its own folder. The pure ones open no sockets and read no clock.
//!
//! | module | what it is | |
//! |---|---|---|
//! | `content` | tokens, and what is sent and must come back | pure |
//! | `client_kinds` | the kinds of clients as values; below it carries them out, which uses all but `load` | |
//! | `failure` | classes of failures, and which one it was | pure |
//! | `latency`, `silence` | a histogram; how long nobody had an answer | pure |
//! | `record`, `analysis` | what happened, and whether it was allowed | pure |
//! | `plan`, `schedule` | what is to happen, and when | pure |
//! | `answer`, `request` | HTTP/1.1 and raw bytes: what must come back, what is sent | pure |
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
