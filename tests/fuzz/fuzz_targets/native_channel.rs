//! A packet on the channel of a worker made with `worker-runtime`, in both directions. What is read is written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use worker_runtime::protocol::packet::{Refusal, ToMaster, ToWorker};

fuzz_target!(|packet: &[u8]| {
    let mut written = Vec::new();
    if let Ok(read) = ToWorker::decode(packet) {
        read.encode(&mut written);
        assert_eq!(written, packet, "{read:?}");
    }
    written.clear();
    if let Ok(read) = ToMaster::decode(packet) {
        read.encode(&mut written);
        // Unknown reasons are one.
        let is_other = matches!(read, ToMaster::Refused { reason: Refusal::Other, .. });
        assert!(written == packet || is_other, "{read:?}");
        assert_eq!(ToMaster::decode(&written), Ok(read));
    }
});
