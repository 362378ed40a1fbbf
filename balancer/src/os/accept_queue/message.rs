//! Messages of the kernel's `sock_diag`, pure: requests as bytes, and answers read as bytes that may be anything.
//!
//! The layouts are those of the kernel's headers `linux/netlink.h`, `linux/inet_diag.h` and `linux/unix_diag.h`: numbers
//! are in this machine's order, ports and addresses in the network's, and everything is aligned to four bytes.

mod tcp;
mod unix;

pub(super) use self::tcp::{
    ConnectionEntry, TcpEntry, connection_request, listener_request, tcp_connection, tcp_connections_request,
    tcp_entry, tcp_request,
};
pub(super) use self::unix::{UnixEntry, unix_connections, unix_connections_request, unix_entry, unix_request};

/// `nlmsghdr`: length, type, flags, sequence, port id.
const HEADER: usize = 16;

/// `nlattr`: length and type, then the value.
const ATTRIBUTE: usize = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// The number of the state LISTEN, for unix sockets too, and the same as a set of states.
const LISTEN: u8 = 10;
const ONLY_LISTEN: u32 = 1 << LISTEN;

/// The head of a request: for a list, or for the one socket that it describes.
fn header(sequence: u32, is_list: bool) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | if is_list { libc::NLM_F_DUMP } else { 0 }) as u16;
    let mut request = vec![0; 4];
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend(sequence.to_ne_bytes());
    request.extend([0; 4]);
    request
}

/// Adds the cookie "any socket", which ends both requests, and writes the length.
fn finished(mut request: Vec<u8>) -> Vec<u8> {
    request.extend([0xff; 8]);
    let length = request.len() as u32;
    request[..4].copy_from_slice(&length.to_ne_bytes());
    request
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// The sequence number of the request that it answers.
    pub(super) sequence: u32,
    /// The list changed while the kernel wrote it: an entry may be missing. Ask again.
    pub(super) is_torn: bool,
    pub(super) content: Content<'a>,
}

/// The content of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// One socket.
    Entry(&'a [u8]),
    /// The end of the list.
    Done,
    /// The request failed, with this errno.
    Failed(i32),
    /// Any other message, which is ignored.
    Other,
}

/// The messages of a datagram. Bytes that are no message, or a message that is cut off, give one `None`, which is the
/// last item.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Option<Message<'_>>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let (message, rest) = split_message(datagram).unzip();
        datagram = rest.unwrap_or_default();
        Some(message)
    })
}

fn split_message(datagram: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
    let kind = i32::from(u16_at(datagram, 4)?);
    let flags = i32::from(u16_at(datagram, 6)?);
    let sequence = u32_at(datagram, 8)?;
    let body = datagram.get(HEADER..length)?;
    // A dump that fails half way has its errno in the word behind its end message; an error of 0 is an acknowledgement.
    let errno = || u32_at(body, 0).map(|word| (word as i32).saturating_neg());
    let content = match kind {
        libc::NLMSG_DONE => match errno() {
            Some(errno) if errno > 0 => Content::Failed(errno),
            _ => Content::Done,
        },
        libc::NLMSG_ERROR => match errno()? {
            0 => Content::Other,
            errno => Content::Failed(errno),
        },
        kind if kind == i32::from(SOCK_DIAG_BY_FAMILY) => Content::Entry(body),
        _ => Content::Other,
    };
    let message = Message { sequence, is_torn: flags & libc::NLM_F_DUMP_INTR != 0, content };
    Some((message, datagram.get(aligned(length)..).unwrap_or_default()))
}

/// The value of the first attribute of a kind.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(ATTRIBUTE..length)?;
        if u16_at(attributes, 2)? & libc::NLA_TYPE_MASK as u16 == kind {
            return Some(value);
        }
        attributes = attributes.get(aligned(length)..)?;
    }
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}

/// Reads any datagram as each answer of the kernel.
#[cfg(feature = "fuzzing")]
pub fn fuzz(datagram: &[u8]) {
    let mut is_over = false;
    for message in messages(datagram) {
        assert!(!is_over, "something follows what is no message");
        is_over = message.is_none();
        if let Some(Message { content: Content::Entry(body), .. }) = message {
            let _ = (tcp_entry(body), tcp_connection(body));
            let _ = (unix_entry(body), unix_connections(body));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::tcp::INET_ENTRY;
    use super::unix::UNIX_ENTRY;
    use super::*;
    use proptest::prelude::*;

    /// A message as the kernel writes it.
    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn contents(datagram: &[u8]) -> Vec<Option<Content<'_>>> {
        messages(datagram).map(|message| message.map(|message| message.content)).collect()
    }

    #[test]
    fn requests_have_the_lengths_that_the_kernel_asks_for() {
        let (tcp, unix) = (tcp_request(7, libc::AF_INET as u8, 0x1234), unix_request(7));
        assert_eq!((tcp.len(), unix.len()), (HEADER + 56, HEADER + 24));
        assert_eq!((u32_at(&tcp, 0), u32_at(&unix, 0)), (Some(72), Some(40)));
        assert_eq!(tcp[24..26], [0x12, 0x34]);
    }

    #[test]
    fn datagram_is_parsed_to_its_end() {
        let mut datagram = message(SOCK_DIAG_BY_FAMILY, 0, b"12345");
        datagram.extend(message(libc::NLMSG_DONE as u16, 0, &0_i32.to_ne_bytes()));
        assert_eq!(contents(&datagram), [Some(Content::Entry(b"12345")), Some(Content::Done)]);
        datagram.truncate(20);
        assert_eq!(contents(&datagram), [None], "cut off");
    }

    #[test]
    fn failure_is_reported_in_the_middle_and_at_the_end() {
        let failed = |kind: i32, word: i32| message(kind as u16, 0, &word.to_ne_bytes());
        assert_eq!(contents(&failed(libc::NLMSG_ERROR, -libc::ENOENT)), [Some(Content::Failed(libc::ENOENT))]);
        assert_eq!(contents(&failed(libc::NLMSG_DONE, -libc::EPERM)), [Some(Content::Failed(libc::EPERM))]);
        assert_eq!(contents(&failed(libc::NLMSG_ERROR, 0)), [Some(Content::Other)]);
        assert_eq!(contents(&failed(libc::NLMSG_ERROR, i32::MIN)), [Some(Content::Failed(i32::MAX))]);
        let torn = message(libc::NLMSG_DONE as u16, libc::NLM_F_DUMP_INTR as u16, &[]);
        assert!(messages(&torn).all(|message| message.is_some_and(|message| message.is_torn)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(messages(&bytes).count() <= bytes.len());
            let (tcp, unix) = (tcp_entry(&bytes), unix_entry(&bytes));
            prop_assert!(tcp.is_none() || bytes.len() >= INET_ENTRY);
            prop_assert!(unix.is_none() || bytes.len() >= UNIX_ENTRY);
        }

        /// Feeds nearly valid messages: plausible lengths and kinds get further into the parser than noise does.
        #[test]
        fn lengths_that_lie_are_read_without_a_panic(
            parts in prop::collection::vec((0..90_u32, 0..40_u16, 0..13_u16, prop::collection::vec(0..11_u8, 0..90)), 0..6),
        ) {
            let mut datagram = Vec::new();
            for (length, kind, attribute, body) in parts {
                datagram.extend(length.to_ne_bytes());
                datagram.extend([kind, 0].map(u16::to_ne_bytes).as_flattened());
                datagram.extend([0; 8]);
                datagram.extend([1, 1, LISTEN, 0].iter().chain(&[0; 12]));
                datagram.extend([length as u16, attribute].map(u16::to_ne_bytes).as_flattened());
                datagram.extend(body);
            }
            for content in contents(&datagram).into_iter().flatten() {
                if let Content::Entry(body) = content {
                    let _ = (tcp_entry(body), unix_entry(body));
                }
            }
        }
    }
}
