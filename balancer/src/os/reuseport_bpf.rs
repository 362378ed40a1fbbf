//! Chooses the socket of a reuseport group that gets a new connection, by a small program that the kernel runs for each
//! connection.
//!
//! Sockets that listen on one address with `SO_REUSEPORT` form a group. By default the kernel spreads connections over
//! all of them by a hash of the addresses, even to a socket whose process does not accept. A classic BPF program, which
//! needs no privilege (`SO_ATTACH_REUSEPORT_CBPF`, Linux 4.5), chooses instead: it returns the place of a socket in the
//! group's array. The program here draws one of the eligible places at random. If the program returns a number beyond
//! the array, the kernel uses the hash.
//!
//! The array has the sockets in the order in which they began to listen. When a socket stops, the last one moves to its
//! place; a socket that begins again becomes the last. Seen so on Linux 6.18, and checked by a test in
//! [`crate::net::group`].
//!
//! The SYN decides: later packets of a handshake go where its SYN went, even if another program runs by then. Only
//! where the kernel answers with SYN cookies is nothing remembered, and the last packet of the handshake decides. All
//! members know each other's cookies, so the connection succeeds all the same.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{setsockopt, sockopt};

/// The most instructions that Linux takes (`BPF_MAXINSNS`).
const MOST: usize = 4096;

/// A program that chooses among places in a group's array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Vec<Instruction>);

/// One instruction of classic BPF, as in `linux/filter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u32,
    /// The number of instructions that are skipped if a condition holds.
    if_so: u8,
    if_not: u8,
    value: u32,
}

impl Instruction {
    const fn new(code: u32, value: u32) -> Self {
        Self { code, if_so: 0, if_not: 0, value }
    }
}

/// The four kinds of instructions: load a random number, calculate, compare, answer.
const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const RANDOM: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM).cast_unsigned();
const REMAINDER: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
const ADD: u32 = libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K;
const IF_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const ANSWER_VALUE: u32 = libc::BPF_RET | libc::BPF_K;
const ANSWER: u32 = libc::BPF_RET | libc::BPF_A;

/// Consecutive places: the ranks by which they are drawn, and the distance of the places from the ranks.
struct Run {
    end_rank: u32,
    offset: u32,
}

impl Program {
    /// Makes a program that draws one of `places` at random, each equally likely. Without any place, it leaves the
    /// choice to the kernel's hash; so it does if there are more than 1,300 gaps between the places, which no program
    /// could hold.
    ///
    /// Pure. The program's length depends on the number of gaps between the places.
    pub fn among(places: &[u32]) -> Self {
        let mut places = places.to_vec();
        places.sort_unstable();
        places.dedup();
        let count = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let runs = runs(&places);
        // The kernel accepts neither a remainder by 0 nor a program that is too long.
        if count == 0 || 3 * runs.len() + 1 > MOST {
            return Self(vec![Instruction::new(ANSWER_VALUE, u32::MAX)]);
        }
        let mut program = vec![Instruction::new(LOAD_WORD, RANDOM), Instruction::new(REMAINDER, count)];
        let last = runs.len() - 1;
        for (index, run) in runs.iter().enumerate() {
            if index < last {
                // Jumps to the next run: over the two instructions of this one.
                program.push(Instruction { if_so: 2, ..Instruction::new(IF_AT_LEAST, run.end_rank) });
            }
            program.extend([Instruction::new(ADD, run.offset), Instruction::new(ANSWER, 0)]);
        }
        Self(program)
    }

    /// Makes the program choose for the whole group that `member` belongs to; it replaces the previous program. The
    /// member must listen.
    ///
    /// # Errors
    ///
    /// The kernel is older than 4.5 or takes no such program; the member does not listen.
    pub fn attach(&self, member: BorrowedFd<'_>) -> io::Result<()> {
        let filter = |one: &Instruction| libc::sock_filter {
            // Lossless: classic BPF has no code of more than 8 bits.
            code: one.code as u16,
            jt: one.if_so,
            jf: one.if_not,
            k: one.value,
        };
        let mut filters: Vec<_> = self.0.iter().map(filter).collect();
        let length = u16::try_from(filters.len()).map_err(io::Error::other)?;
        let program = libc::sock_fprog { len: length, filter: filters.as_mut_ptr() };
        // `program` points to `length` instructions that live through the call; the kernel keeps a copy.
        Ok(setsockopt(&member, sockopt::AttachReusePortCbpf, &program)?)
    }
}

/// Leaves the choice to the kernel's hash again. On a failure the present program stays.
pub fn detach(member: impl AsFd) {
    let nothing: libc::c_int = 0;
    // SAFETY: the kernel reads nothing but an int, which `nothing` is; it lives through the call.
    unsafe {
        let (value, size) = ((&raw const nothing).cast(), size_of::<libc::c_int>() as libc::socklen_t);
        let member = member.as_fd().as_raw_fd();
        libc::setsockopt(member, libc::SOL_SOCKET, libc::SO_DETACH_REUSEPORT_BPF, value, size);
    }
}

fn runs(places: &[u32]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (rank, &place) in (0u32..).zip(places) {
        // Sorted and each once, so a place is never below its rank.
        let offset = place - rank;
        match runs.last_mut() {
            Some(run) if run.offset == offset => run.end_rank = rank + 1,
            _ => runs.push(Run { end_rank: rank + 1, offset }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of a program if that number is drawn.
    fn answer(program: &Program, random: u32) -> u32 {
        let (mut a, mut at) = (0u32, 0);
        loop {
            let one = program.0[at];
            at += 1;
            match one.code {
                LOAD_WORD => a = if one.value == RANDOM { random } else { panic!("{one:?}") },
                REMAINDER => a %= one.value,
                ADD => a += one.value,
                IF_AT_LEAST => at += usize::from(if a >= one.value { one.if_so } else { one.if_not }),
                ANSWER_VALUE => return one.value,
                ANSWER => return a,
                _ => panic!("{one:?}"),
            }
        }
    }

    #[test]
    fn each_place_is_drawn_by_equally_many_numbers() {
        let scattered: Vec<u32> = (0..1024).filter(|place| place % 2 == 1).collect();
        let most: Vec<u32> = (0..1024).filter(|place| place % 3 != 0).collect();
        for places in [&[0][..], &[7], &[0, 1, 2], &[3, 1], &[0, 2, 3, 9, 1023], &scattered, &most] {
            let program = Program::among(places);
            assert!(program.0.len() <= MOST, "{}", program.0.len());
            let mut drawn: Vec<_> = (0..places.len() as u32).map(|number| answer(&program, number)).collect();
            drawn.sort_unstable();
            let mut sorted = places.to_vec();
            sorted.sort_unstable();
            assert_eq!(drawn, sorted);
            assert!(places.contains(&answer(&program, u32::MAX)));
        }
    }

    #[test]
    fn no_place_or_too_many_gaps_is_left_to_kernel() {
        let too_many: Vec<u32> = (0..3000).map(|place| place * 2).collect();
        for places in [&[][..], &too_many] {
            assert_eq!(answer(&Program::among(places), 5), u32::MAX);
        }
        assert_eq!(Program::among(&[4, 4]), Program::among(&[4]), "twice is once");
    }

    #[test]
    fn all_1024_places_fit_and_kernel_takes_worst_choice() {
        assert_eq!(Program::among(&(0..1024).collect::<Vec<_>>()).0.len(), 4);
        let worst = Program::among(&(0..1024).step_by(2).collect::<Vec<_>>());
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(1).unwrap();
        worst.attach(socket.as_fd()).unwrap();
        detach(&socket);
    }

    #[test]
    fn socket_without_group_takes_no_program() {
        let alone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Program::among(&[0]).attach(alone.as_fd()).is_err());
    }
}
