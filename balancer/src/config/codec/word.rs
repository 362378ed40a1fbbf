//! Values that are words of a fixed list.

use super::super::value::{Value, nearest};
use super::super::{
    Drain, EndpointKind, GiveUp, LineFormat, LogFormat, ProxyProtocol, Ready, SocketPassing, StopSignal,
};
use super::{Codec, Wrong, because, quoted};
use crate::mode::Mode;
use crate::os::child::{Background, StopSignalTo};
use crate::strategy;

fn read_word<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, Wrong> {
    let text = value.text().ok_or(Wrong::Expected)?;
    if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*meant);
    }
    match nearest(text, words.iter().map(|(word, _)| *word)) {
        Some(word) => Err(Wrong::Nearly(format!("did you mean `{word}`?"))),
        None => Err(Wrong::Expected),
    }
}

fn show_word<T: PartialEq>(meant: &T, words: &[(&str, T)]) -> Option<String> {
    words.iter().find(|(_, one)| one == meant).map(|(word, _)| quoted(word))
}

const READY_WORDS: &[(&str, Ready)] = &[
    ("probe", Ready::Probe),
    ("notify", Ready::Notify),
    ("none", Ready::None),
    ("listening", Ready::Listening),
    ("message", Ready::Message),
];

/// The sign that a worker is ready.
pub(in crate::config) const READY: Codec<Ready> = Codec {
    expects: "\"probe\", \"notify\", \"none\", \"listening\" or \"message\"",
    read: |value| read_word(value, READY_WORDS),
    show: |ready| show_word(ready, READY_WORDS),
};

const ENDPOINT_WORDS: &[(&str, EndpointKind)] =
    &[("port", EndpointKind::Port), ("unix", EndpointKind::Unix), ("inherited", EndpointKind::Inherited)];

/// The kind of a worker's private endpoint.
pub(in crate::config) const ENDPOINT: Codec<EndpointKind> = Codec {
    expects: "\"port\", \"unix\" or \"inherited\"",
    read: |value| read_word(value, ENDPOINT_WORDS),
    show: |endpoint| show_word(endpoint, ENDPOINT_WORDS),
};

const DRAIN_WORDS: &[(&str, Drain)] =
    &[("auto", Drain::Auto), ("signal", Drain::Signal), ("idle", Drain::Idle), ("wait", Drain::Wait)];

/// The way that a worker which leaves is drained.
pub(in crate::config) const DRAIN: Codec<Drain> = Codec {
    expects: "\"auto\", \"signal\", \"idle\" or \"wait\"",
    read: |value| read_word(value, DRAIN_WORDS),
    show: |drain| show_word(drain, DRAIN_WORDS),
};

const STOP_SIGNAL_WORDS: &[(&str, StopSignal)] = &[
    ("TERM", StopSignal::Term),
    ("INT", StopSignal::Int),
    ("QUIT", StopSignal::Quit),
    ("HUP", StopSignal::Hup),
    ("USR1", StopSignal::Usr1),
    ("USR2", StopSignal::Usr2),
    ("WINCH", StopSignal::Winch),
];

/// The signal that tells a worker to end.
pub(in crate::config) const STOP_SIGNAL: Codec<StopSignal> = Codec {
    expects: "\"TERM\", \"INT\", \"QUIT\", \"HUP\", \"USR1\", \"USR2\" or \"WINCH\"",
    read: |value| {
        let plain = value.text().and_then(|text| text.strip_prefix("SIG"));
        match STOP_SIGNAL_WORDS.iter().find(|(word, _)| plain == Some(word)) {
            Some((_, meant)) => Ok(*meant),
            None => read_word(value, STOP_SIGNAL_WORDS),
        }
    },
    show: |signal| show_word(signal, STOP_SIGNAL_WORDS),
};

const STOP_SIGNAL_TO_WORDS: &[(&str, StopSignalTo)] =
    &[("main", StopSignalTo::Main), ("leader", StopSignalTo::Leader), ("group", StopSignalTo::Group)];

/// The processes of a worker that get the stop signal.
pub(in crate::config) const STOP_SIGNAL_TO: Codec<StopSignalTo> = Codec {
    expects: "\"main\", \"leader\" or \"group\"",
    read: |value| read_word(value, STOP_SIGNAL_TO_WORDS),
    show: |to| show_word(to, STOP_SIGNAL_TO_WORDS),
};

const BACKGROUND_WORDS: &[(&str, Background)] = &[("end", Background::End), ("keep", Background::Keep)];

/// The treatment of a program that a worker left in the background.
pub(in crate::config) const BACKGROUND: Codec<Background> = Codec {
    expects: "\"end\" or \"keep\"",
    read: |value| read_word(value, BACKGROUND_WORDS),
    show: |background| show_word(background, BACKGROUND_WORDS),
};

const SOCKET_PASSING_WORDS: &[(&str, SocketPassing)] =
    &[("auto", SocketPassing::Auto), ("listen-fds", SocketPassing::ListenFds), ("node", SocketPassing::Node)];

/// The way that sockets are passed to a worker.
pub(in crate::config) const SOCKET_PASSING: Codec<SocketPassing> = Codec {
    expects: "\"auto\", \"listen-fds\" or \"node\"",
    read: |value| read_word(value, SOCKET_PASSING_WORDS),
    show: |passing| show_word(passing, SOCKET_PASSING_WORDS),
};

const PROXY_PROTOCOL_WORDS: &[(&str, ProxyProtocol)] =
    &[("off", ProxyProtocol::Off), ("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];

/// The header that tells a worker the client's address.
pub(in crate::config) const PROXY_PROTOCOL: Codec<ProxyProtocol> = Codec {
    expects: "\"off\", \"v1\" or \"v2\"",
    read: |value| read_word(value, PROXY_PROTOCOL_WORDS),
    show: |version| show_word(version, PROXY_PROTOCOL_WORDS),
};

const GIVE_UP_WORDS: &[(&str, GiveUp)] = &[("never", GiveUp::Never), ("exit", GiveUp::Exit)];

/// The effect of a failed slot on the master.
pub(in crate::config) const GIVE_UP: Codec<GiveUp> = Codec {
    expects: "\"never\" or \"exit\"",
    read: |value| read_word(value, GIVE_UP_WORDS),
    show: |give_up| show_word(give_up, GIVE_UP_WORDS),
};

const FORMAT_WORDS: &[(&str, LogFormat)] =
    &[("auto", LogFormat::Auto), ("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];

/// The format of the master's log.
pub(in crate::config) const LOG_FORMAT: Codec<LogFormat> = Codec {
    expects: "\"auto\", \"pretty\" or \"json\"",
    read: |value| read_word(value, FORMAT_WORDS),
    show: |format| show_word(format, FORMAT_WORDS),
};

const LINE_WORDS: &[(&str, LineFormat)] = &[("text", LineFormat::Text), ("json", LineFormat::Json)];

/// The format of a worker's line.
pub(in crate::config) const LINE_FORMAT: Codec<LineFormat> = Codec {
    expects: "\"text\" or \"json\"",
    read: |value| read_word(value, LINE_WORDS),
    show: |format| show_word(format, LINE_WORDS),
};

const LEVEL_WORDS: &[(&str, &str)] =
    &[("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug"), ("trace", "trace")];

/// The level of the master's log.
pub(in crate::config) const LOG_LEVEL: Codec<String> = Codec {
    expects: "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
    read: |value| read_word(value, LEVEL_WORDS).map(str::to_owned),
    show: |level| Some(quoted(level)),
};

/// Returns the names as a list for messages, such as `a`, `b`, `c`.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The mode: the path of a connection to a worker.
pub(in crate::config) const MODE: Codec<Mode> = Codec {
    expects: "the name of a mode",
    read: |value| {
        let text = value.text().ok_or(Wrong::Expected)?;
        if let Some(mode) = Mode::ALL.into_iter().find(|mode| mode.name() == text) {
            return Ok(mode);
        }
        let names = || Mode::ALL.iter().map(|mode| mode.name());
        let label = nearest(text, names())
            .map_or_else(|| format!("there is {}", listed(names())), |name| format!("did you mean `{name}`?"));
        because(format!("unknown mode `{text}`"), label)
    },
    show: |mode| Some(quoted(mode.name())),
};

/// The strategy that picks the worker.
pub(in crate::config) const STRATEGY: Codec<String> = Codec {
    expects: "the name of a strategy",
    read: |value| {
        let text = value.text().ok_or(Wrong::Expected)?;
        if strategy::find(text).is_some() {
            return Ok(text.to_owned());
        }
        let names = || strategy::ALL.iter().map(|entry| entry.name);
        let label = nearest(text, names()).map(|name| format!("did you mean `{name}`?"));
        because(format!("unknown strategy `{text}`"), label.unwrap_or_else(|| format!("there is {}", listed(names()))))
    },
    show: |name| Some(quoted(name)),
};
