//! The client and the worker see the same bytes and ends as they would without the relay.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::kit::*;
use roundelay::config::Address;
use roundelay::stats::Outcome;
use std::time::Duration;

const TIMES: usize = 1000;
const AT_ONCE: usize = 32;
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn client_half_close_is_relayed_and_late_answer_arrives() {
    for threads in THREADS {
        let late = worker(|mut stream| async move {
            let (mut upload, end) = read_all(&mut stream).await;
            end.unwrap();
            upload.reverse();
            stream.write_all(&upload).await.unwrap();
        })
        .await;
        let stand = stand(threads, &[late]);
        let at = stand.tcp();
        repeat(TIMES, AT_ONCE, |i| async move {
            let upload = text(i, length(i, 200_000));
            let answer = exchange(TcpStream::connect(at).await.unwrap(), upload).await;
            assert!(answer.iter().eq(upload.iter().rev()), "{i}: {} of {}", answer.len(), upload.len());
        })
        .await;
        wait_until("all counted", || stand.ended(Outcome::Finished) == TIMES as u64).await;
        let total: u64 = (0..TIMES).map(|i| length(i, 200_000) as u64).sum();
        let slot = &stand.pool.slots()[0];
        eventually_eq!((slot.rx_bytes.get(), slot.tx_bytes.get()), (total, total));
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn worker_half_close_is_relayed_and_client_goes_on_sending() {
    for threads in THREADS {
        let (got, mut uploads) = mpsc::unbounded_channel();
        let early = worker(move |mut stream| {
            let got = got.clone();
            async move {
                stream.write_all(b"all I have to say").await.unwrap();
                stream.shutdown().await.unwrap();
                let (upload, end) = read_all(&mut stream).await;
                end.unwrap();
                got.send(upload).unwrap();
            }
        })
        .await;
        let stand = stand(threads, &[early]);
        let at = stand.tcp();
        repeat(TIMES, AT_ONCE, |i| async move {
            let mut client = TcpStream::connect(at).await.unwrap();
            let (answer, end) = read_all(&mut client).await;
            end.unwrap();
            assert_eq!(answer, b"all I have to say");
            client.write_all(&u32::try_from(i).unwrap().to_be_bytes()).await.unwrap();
            client.write_all(text(i, length(i, 100_000))).await.unwrap();
        })
        .await;
        for _ in 0..TIMES {
            let upload = within(uploads.recv()).await.unwrap();
            let (head, rest) = upload.split_at(4);
            let i = u32::from_be_bytes(head.try_into().unwrap()) as usize;
            assert!(rest == text(i, length(i, 100_000)), "{i}: {} bytes", rest.len());
        }
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn worker_reset_reaches_the_client_after_every_byte() {
    for threads in THREADS {
        let breaks_off = worker(|mut stream| async move {
            stream.read_exact(&mut [0; 4]).await.unwrap();
            stream.write_all(text(5, 1000)).await.unwrap();
            reset(stream);
        })
        .await;
        let stand = stand(threads, &[breaks_off]);
        let at = stand.tcp();
        repeat(TIMES, AT_ONCE, |i| async move {
            let mut client = TcpStream::connect(at).await.unwrap();
            client.write_all(b"GET\n").await.unwrap();
            let (answer, end) = read_all(&mut client).await;
            assert!(answer == text(5, 1000), "{i}: {} bytes", answer.len());
            assert!(is_reset(&end), "{i}: a truncated answer looks complete: {end:?}");
        })
        .await;
        wait_until("all counted", || stand.ended(Outcome::UpstreamReset) == TIMES as u64).await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn client_reset_reaches_the_worker_after_every_byte() {
    for threads in THREADS {
        let (seen, mut ends) = mpsc::unbounded_channel();
        let listens = worker(move |mut stream| {
            let seen = seen.clone();
            async move { seen.send(read_all(&mut stream).await).unwrap() }
        })
        .await;
        let stand = stand(threads, &[listens]);
        let at = stand.tcp();
        repeat(TIMES, AT_ONCE, |i| async move {
            let mut client = TcpStream::connect(at).await.unwrap();
            client.write_all(text(i, 1000)).await.unwrap();
            reset(client);
        })
        .await;
        for i in 0..TIMES {
            let (bytes, end) = within(ends.recv()).await.unwrap();
            assert_eq!(bytes.len(), 1000, "{i}");
            assert!(is_reset(&end), "{i}: {end:?}");
        }
        wait_until("all counted", || stand.ended(Outcome::ClientReset) == TIMES as u64).await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn early_answer_during_upload_arrives_whole() {
    for threads in THREADS {
        // Closing with the upload unread makes the kernel reset the connection, after the answer.
        let refuses = worker(|mut stream| async move {
            let mut head = [0; 4];
            stream.read_exact(&mut head).await.unwrap();
            let i = u32::from_be_bytes(head) as usize;
            stream.write_all(text(i, length(i, 8000))).await.unwrap();
        })
        .await;
        let stand = stand(threads, &[refuses]);
        let at = stand.tcp();
        repeat(TIMES, 16, |i| async move {
            let mut client = TcpStream::connect(at).await.unwrap();
            client.write_all(&u32::try_from(i).unwrap().to_be_bytes()).await.unwrap();
            let upload = text(i, (1 << 20) + length(i, 3 << 20));
            let expected = text(i, length(i, 8000));
            let (mut from, mut to) = client.split();
            let answer = if i % 2 == 0 {
                // Sends its whole upload before it reads.
                let _ = to.write_all(upload).await;
                read_all(&mut from).await.0
            } else {
                tokio::join!(read_all(&mut from), to.write_all(upload)).0.0
            };
            assert!(answer == expected, "{i}: {} of {} bytes", answer.len(), expected.len());
        })
        .await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn early_answer_ends_with_fin_between_pieces_of_the_upload() {
    for threads in THREADS {
        let refuses = worker(|mut stream| async move {
            stream.read_exact(&mut [0; 4]).await.unwrap();
            stream.write_all(b"413 too large").await.unwrap();
        })
        .await;
        let stand = stand(threads, &[refuses]);
        let at = stand.tcp();
        repeat(TIMES, AT_ONCE, |i| async move {
            let client = TcpStream::connect(at).await.unwrap();
            let (mut from, mut to) = client.into_split();
            // The pauses leave moments in which no byte of the upload is on its way.
            let upload = tokio::spawn(async move {
                while to.write_all(text(i, 1000)).await.is_ok() {
                    pauses(Duration::from_millis(5)).await;
                }
            });
            let (answer, end) = read_all(&mut from).await;
            assert_eq!(answer, b"413 too large");
            assert!(end.is_ok(), "{i}: {end:?}");
            upload.abort();
        })
        .await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn upload_is_read_for_a_while_after_an_early_answer() {
    for threads in THREADS {
        let refuses = worker(|mut stream| async move {
            stream.read_exact(&mut [0; 4]).await.unwrap();
            stream.write_all(b"413 too large").await.unwrap();
        })
        .await;
        let stand = stand(threads, &[refuses]);
        let at = stand.tcp();
        repeat(200, AT_ONCE, |i| async move {
            let mut client = TcpStream::connect(at).await.unwrap();
            // A client that reads the answer only when it has sent everything.
            for _ in 0..20 {
                client.write_all(text(i, 1000)).await.unwrap();
                pauses(Duration::from_millis(5)).await;
            }
            let (answer, end) = read_all(&mut client).await;
            assert_eq!(answer, b"413 too large");
            assert!(end.is_ok(), "{i}: {end:?}");
        })
        .await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn worker_may_speak_first() {
    for threads in THREADS {
        let greets = worker(|mut stream| async move {
            stream.write_all(b"220 ready\n").await.unwrap();
            let mut line = [0; 5];
            stream.read_exact(&mut line).await.unwrap();
            stream.write_all(&line).await.unwrap();
        })
        .await;
        let stand = stand(threads, &[greets]);
        let at = stand.tcp();
        repeat(200, AT_ONCE, |_| async move {
            let mut client = TcpStream::connect(at).await.unwrap();
            let mut greeting = [0; 10];
            client.read_exact(&mut greeting).await.unwrap();
            assert_eq!(&greeting, b"220 ready\n");
            client.write_all(b"EHLO\n").await.unwrap();
            assert_eq!(read_all(&mut client).await.0, b"EHLO\n");
        })
        .await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn unix_sockets_on_both_sides_carry_bytes_and_half_closes() {
    for threads in THREADS {
        let dir = tempfile::tempdir().unwrap();
        let late = unix_worker(&dir.path().join("worker.sock"), |mut stream| async move {
            let (upload, end) = read_all(&mut stream).await;
            end.unwrap();
            stream.write_all(&upload).await.unwrap();
        });
        let public = dir.path().join("public.sock");
        let stand = stand_with(threads, &[late], |config| config.listen = vec![Address::Unix(public.clone())]);
        repeat(200, 16, |i| {
            let public = public.clone();
            async move {
                let mut client = tokio::net::UnixStream::connect(public).await.unwrap();
                let upload = text(i, length(i, 300_000));
                client.write_all(upload).await.unwrap();
                client.shutdown().await.unwrap();
                let (answer, end) = read_all(&mut client).await;
                end.unwrap();
                assert!(answer == upload, "{i}: {} of {}", answer.len(), upload.len());
            }
        })
        .await;
        stand.finish(SOON).await;
        assert!(!public.exists());
    }
}
