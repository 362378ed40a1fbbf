use super::*;

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = Vec::new();
    encode(&mut packet);
    packet
}

/// Returns every packet of the master, and its bytes.
fn to_worker(text: &str) -> Vec<(ToWorker<'_>, Vec<u8>)> {
    let packets = [ToWorker::Connection { id: 0x0102 }, ToWorker::Message(text), ToWorker::Ping { token: u64::MAX }];
    packets.into_iter().map(|packet| (packet, encoded(|bytes| packet.encode(bytes)))).collect()
}

/// Returns every packet of a worker, and its bytes.
fn to_master<'a>(ids: &'a [u64], text: &'a str) -> Vec<(ToMaster<'a>, Vec<u8>)> {
    let ids = Ids::batches(ids).next().expect("ids");
    let packets = [
        ToMaster::Taken(ids),
        ToMaster::Refused { reason: Refusal::Draining, ids },
        ToMaster::Refused { reason: Refusal::NoDescriptor, ids },
        ToMaster::Refused { reason: Refusal::Other, ids },
        ToMaster::Ended(ids),
        ToMaster::Message(text),
        ToMaster::Pong { token: 7 },
    ];
    packets.into_iter().map(|packet| (packet, encoded(|bytes| packet.encode(bytes)))).collect()
}

#[test]
fn encoded_packet_decodes_to_the_same() {
    let many: Vec<u64> = (0..64).map(|i| u64::MAX - i).collect();
    let long = "\"".repeat(MAX_MESSAGE);
    for text in ["0", "{\"größe\":1}", &long] {
        for (packet, bytes) in to_worker(text) {
            assert_eq!(ToWorker::decode(&bytes), Ok(packet));
            assert!(bytes.len() <= MAX_PACKET);
        }
        for ids in [&many[..1], &many[..2], &many] {
            for (packet, bytes) in to_master(ids, text) {
                assert_eq!(ToMaster::decode(&bytes), Ok(packet));
                assert!(bytes.len() <= MAX_PACKET);
            }
        }
    }
}

#[test]
fn encoded_bytes_are_those_of_the_protocol() {
    let id = 0x0102;
    let bytes = |packet: ToMaster<'_>| encoded(|bytes| packet.encode(bytes));
    assert_eq!(encoded(|bytes| ToWorker::Connection { id }.encode(bytes)), [1, 2, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(encoded(|bytes| ToWorker::Message("{}").encode(bytes)), *b"\x02{}");
    assert_eq!(encoded(|bytes| ToWorker::Ping { token: 5 }.encode(bytes)), [3, 5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes(ToMaster::Taken(Ids::one(&id))), [1, 2, 1, 0, 0, 0, 0, 0, 0]);
    let refused = ToMaster::Refused { reason: Refusal::NoDescriptor, ids: Ids::one(&id) };
    assert_eq!(bytes(refused), [2, 2, 2, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes(ToMaster::Ended(Ids::one(&id))), [3, 2, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes(ToMaster::Message("1")), *b"\x041");
    assert_eq!(bytes(ToMaster::Pong { token: 5 }), [5, 5, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn cut_or_extended_packet_is_refused_unless_it_is_valid() {
    let ids: Vec<u64> = (0..64).collect();
    for (_, bytes) in to_worker("[1]") {
        let is_text = bytes[0] == ToWorker::MESSAGE;
        for length in 0..bytes.len() {
            assert_eq!(ToWorker::decode(&bytes[..length]).is_ok(), is_text && length > 1, "{length} of {bytes:?}");
        }
        assert_eq!(ToWorker::decode(&[&bytes[..], b"1"].concat()).is_ok(), is_text);
    }
    for (packet, bytes) in to_master(&ids, "[1]") {
        let header = if matches!(packet, ToMaster::Refused { .. }) { 2 } else { 1 };
        let is_text = matches!(packet, ToMaster::Message(_));
        for length in 0..bytes.len() {
            let holds_ids = length > header && (length - header).is_multiple_of(ID);
            let holds = if is_text { length > 1 } else { holds_ids };
            assert_eq!(ToMaster::decode(&bytes[..length]).is_ok(), holds, "{length} of {bytes:?}");
        }
        for more in 1..=ID {
            let longer = [&bytes[..], &[b'1'; ID][..more]].concat();
            assert_eq!(ToMaster::decode(&longer).is_ok(), is_text, "64 ids and {more} bytes");
        }
    }
}

#[test]
fn random_bytes_decode_reversibly_or_are_refused() {
    // A linear congruential generator, so that each run has the same bytes.
    let mut seed = 1_u64;
    let mut any = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    for kind in 0..=u8::MAX {
        for length in 0..600 {
            let packet: Vec<u8> = std::iter::once(kind).chain((0..length).map(|_| any())).collect();
            if let Ok(decoded) = ToWorker::decode(&packet) {
                assert_eq!(encoded(|bytes| decoded.encode(bytes)), packet);
            }
            match ToMaster::decode(&packet) {
                Ok(ToMaster::Refused { reason: Refusal::Other, .. }) | Err(_) => {}
                Ok(decoded) => assert_eq!(encoded(|bytes| decoded.encode(bytes)), packet),
            }
        }
    }
}

#[test]
fn decode_error_names_the_fault() {
    assert_eq!(ToWorker::decode(&[]), Err(PacketError::Empty));
    assert_eq!(ToMaster::decode(&[]), Err(PacketError::Empty));
    assert_eq!(ToWorker::decode(&[4]), Err(PacketError::Kind(4)));
    assert_eq!(ToMaster::decode(&[0, 1]), Err(PacketError::Kind(0)));
    assert_eq!(ToMaster::decode(&[1; 8]), Err(PacketError::Length { kind: 1, length: 8 }));
    assert_eq!(ToMaster::decode(&[2]), Err(PacketError::Length { kind: 2, length: 1 }));
    assert_eq!(ToWorker::decode(&[2]), Err(PacketError::Length { kind: 2, length: 1 }));
    assert_eq!(ToWorker::decode(&[2, 0xff]), Err(PacketError::Text));
    let long = vec![b'1'; MAX_PACKET + 1];
    assert_eq!(
        ToWorker::decode(&[&[2], &long[1..]].concat()).map(drop),
        Err(PacketError::Length { kind: 2, length: MAX_PACKET + 1 })
    );
    assert_eq!(
        ToMaster::decode(&[1; 8]).map_err(|error| error.to_string()).err().as_deref(),
        Some("a packet of kind 1 cannot have 8 bytes")
    );
}

#[test]
fn unknown_refusal_reason_is_other() {
    for reason in [0, 3, 4, 255] {
        let packet = [2, reason, 9, 0, 0, 0, 0, 0, 0, 0];
        let refused = ToMaster::Refused { reason: Refusal::Other, ids: Ids::one(&9) };
        assert_eq!(ToMaster::decode(&packet), Ok(refused));
    }
}

#[test]
fn ids_are_split_into_batches_of_at_most_64() {
    assert_eq!(Ids::batches(&[]).count(), 0);
    let ids: Vec<u64> = (0..130).collect();
    assert_eq!(Ids::batches(&ids).map(Ids::len).collect::<Vec<_>>(), [64, 64, 2]);
    assert_eq!(Ids::batches(&ids).flat_map(Ids::iter).collect::<Vec<_>>(), ids);
}
