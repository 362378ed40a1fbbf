//! A pool without processes: the upstreams are tasks of the test, and the test publishes them itself.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roundelay::config::{self, Address, Program};
use roundelay::dispatch::{DataThreads, Drained, Limits, UpstreamReport};
use roundelay::net::listeners::Listener;
use roundelay::pool::Pool;
use roundelay::rotation::{AcceptState, Endpoint, SlotId, Snapshot, Standing, Upstream};
use roundelay::stats::{AcceptLimit, Counter, Outcome};
pub(crate) use roundelay_test_kit::in_async::{eventually, eventually_eq, pauses, wait_until, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) const THREADS: [usize; 2] = [1, 2];

/// A pool with its data threads.
pub(crate) struct Stand {
    pub(crate) pool: Arc<Pool>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) data: DataThreads,
    pub(crate) address: Address,
    pub(crate) reports: mpsc::UnboundedReceiver<UpstreamReport>,
}

/// Serves these endpoints, one for each slot, with all other options at their default.
pub(crate) fn stand(threads: usize, endpoints: &[Endpoint]) -> Stand {
    stand_with(threads, endpoints, |_| {})
}

pub(crate) fn stand_with(
    threads: usize,
    endpoints: &[Endpoint],
    change: impl FnOnce(&mut config::PoolConfig),
) -> Stand {
    let mut config = config::PoolConfig::new("test", Program::Demo);
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    change(&mut config);
    let listener = Listener::bind(&config.listen[0], config.backlog, config.keepalive, false).unwrap();
    let address = listener.address().clone();
    let workers = u32::try_from(endpoints.len()).unwrap();
    let pool = Arc::new(Pool::new(config, workers, threads, vec![address.clone()]));
    let upstream = |(slot, endpoint): (u32, &Endpoint)| {
        let upstream = Upstream::new(SlotId(slot), 1, endpoint.clone(), Arc::clone(&pool.slots()[slot as usize]));
        upstream.set_standing(Standing::Up);
        Arc::new(upstream)
    };
    let upstreams: Vec<_> = (0..).zip(endpoints).map(upstream).collect();
    pool.rotation.publish(Snapshot::new(upstreams.clone()));
    pool.rotation.set_accept_state(AcceptState::Open);
    let (sender, reports) = mpsc::unbounded_channel();
    let report = move |report| drop(sender.send(report));
    let limits = Limits { max_connections: 10_000, set_by: AcceptLimit::MasterMaxConnections };
    let data = DataThreads::start(threads, vec![(Arc::clone(&pool), vec![listener])], limits, report).unwrap();
    Stand { pool, upstreams, data, address, reports }
}

impl Stand {
    pub(crate) fn tcp(&self) -> SocketAddr {
        match &self.address {
            Address::Tcp(at) => *at,
            other => panic!("{other}"),
        }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.tcp()).await.unwrap()
    }

    /// Opens a connection and makes one exchange on it.
    pub(crate) async fn spoken(&self) -> TcpStream {
        let mut client = self.connect().await;
        ping(&mut client).await;
        client
    }

    /// Publishes these slots as the ones in rotation. The others are out of it.
    pub(crate) fn rotate(&self, slots: &[usize]) {
        for (slot, upstream) in self.upstreams.iter().enumerate() {
            upstream.set_standing(if slots.contains(&slot) { Standing::Up } else { Standing::Down });
        }
        let upstreams = slots.iter().map(|&slot| Arc::clone(&self.upstreams[slot])).collect();
        self.pool.rotation.publish(Snapshot::new(upstreams));
    }

    /// Returns the number of connections that ended with `outcome`, on a worker or on none.
    pub(crate) fn ended(&self, outcome: Outcome) -> u64 {
        let of_slots: u64 = self.pool.slots().iter().map(|slot| slot.closes[outcome as usize].get()).sum();
        of_slots + self.pool.stats.unassigned[outcome as usize].get()
    }

    /// Stops accepting, drains, and checks that all counters agree.
    pub(crate) async fn finish(self, deadline: Duration) -> Drained {
        self.pool.rotation.set_accept_state(AcceptState::Closing);
        let drained = within(self.data.drain(Instant::now() + deadline)).await;
        let sum = |counters: &[Counter]| counters.iter().map(Counter::get).sum::<u64>();
        let ended: u64 = Outcome::ALL.iter().map(|outcome| self.ended(*outcome)).sum();
        assert_eq!(
            self.pool.stats.accepted.get(),
            ended + sum(&self.pool.stats.rejected),
            "accepted = ended + rejected"
        );
        assert_eq!(self.pool.stats.duration.snapshot().count, ended);
        assert_eq!((self.pool.stats.active.get(), self.data.open()), (0, 0));
        let recovered = self.pool.stats.recovered.get();
        let twice: u64 = self.pool.slots().iter().map(|slot| slot.connections.get() - sum(&slot.closes)).sum();
        assert_eq!(twice, recovered, "a recovered connection was given to two workers");
        for (upstream, slot) in self.upstreams.iter().zip(self.pool.slots().iter()) {
            assert_eq!((upstream.active(), upstream.connecting(), upstream.waiting()), (0, 0, 0), "nothing leaks");
            let given = slot.connections.get() - sum(&slot.closes);
            assert!(recovered > 0 || given == 0, "given to slot {} = ended there", upstream.slot);
            assert_eq!(sum(&upstream.closes), sum(&slot.closes), "one incarnation in slot {}", upstream.slot);
        }
        self.data.join();
        drained
    }
}

/// Runs `once` for 0..times, at most `at_once` of them at a time.
pub(crate) async fn repeat<F>(times: usize, at_once: usize, once: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    for i in 0..times {
        if running.len() >= at_once {
            running.join_next().await.unwrap().unwrap();
        }
        let work = once(i);
        running.spawn(async move { within(work).await });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

/// Starts a worker that runs `script` for every connection.
pub(crate) async fn worker<F>(script: impl Fn(TcpStream) -> F + Send + 'static) -> Endpoint
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(stream));
        }
    });
    Endpoint::Tcp(at)
}

/// Starts such a worker on a unix socket.
pub(crate) fn unix_worker<F>(path: &Path, script: impl Fn(UnixStream) -> F + Send + 'static) -> Endpoint
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(stream));
        }
    });
    Endpoint::Unix(path.to_owned())
}

/// Starts a worker that sends back the bytes that it receives.
pub(crate) async fn echo_worker() -> Endpoint {
    worker(|mut stream| async move {
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    })
    .await
}

/// Starts a worker that reads and never answers.
pub(crate) async fn mute_worker() -> Endpoint {
    worker(|mut stream| async move {
        let _ = read_all(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await
}

/// Returns the pidfd of a process that was killed.
pub(crate) async fn killed() -> Arc<std::os::fd::OwnedFd> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    Arc::new(pidfd)
}

/// A TCP listener that accepts nothing and whose queue is full, so that the kernel drops each further SYN. The kernel of the
/// client sends it again after a second.
pub(crate) struct FullQueue {
    pub(crate) at: SocketAddr,
    pub(crate) listener: std::net::TcpListener,
    /// The connection that fills the queue.
    pub(crate) waits: std::net::TcpStream,
}

impl FullQueue {
    pub(crate) fn new() -> Self {
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        full.listen(0).unwrap();
        let at = full.local_addr().unwrap().as_socket().unwrap();
        Self { at, listener: full.into(), waits: std::net::TcpStream::connect(at).unwrap() }
    }
}

/// Returns an endpoint on which no process listens.
pub(crate) async fn nobody() -> Endpoint {
    Endpoint::Tcp(TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap())
}

/// Makes one exchange with a worker that echoes.
pub(crate) async fn ping(client: &mut TcpStream) {
    let mut answer = [0; 4];
    within(client.write_all(b"ping")).await.unwrap();
    within(client.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"ping");
}

/// Sends `bytes`, ends its side and reads to the end.
pub(crate) async fn exchange(mut client: TcpStream, bytes: &[u8]) -> Vec<u8> {
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    answer
}

/// Reads all bytes until the end. Returns the bytes and the kind of end.
pub(crate) async fn read_all(from: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let end = from.read_to_end(&mut bytes).await;
    (bytes, end.map(drop))
}

/// Makes the close of `stream` a reset.
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

pub(crate) fn is_reset(end: &io::Result<()>) -> bool {
    end.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

/// Returns `len` bytes that differ by seed.
pub(crate) fn text(seed: usize, len: usize) -> &'static [u8] {
    static ALL: OnceLock<Vec<u8>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(7);
        let mut all = vec![0; 8 << 20];
        random.fill(&mut all);
        all
    });
    &all[seed * 61 % 1_000_000..][..len]
}

/// Returns a length from 1 to `most` that differs by seed. Small lengths are as frequent as large ones.
pub(crate) fn length(seed: usize, most: usize) -> usize {
    let mut random = fastrand::Rng::with_seed(seed as u64);
    let bound = most >> random.u32(0..10);
    random.usize(1..=bound.max(1))
}
