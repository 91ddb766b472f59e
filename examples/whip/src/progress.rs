//! The progress of a session.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use str0m::format::Codec;

/// The progress of a session, shared by the session and its reports.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<Snapshot>>);

#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) state: State,
    pub(crate) started: Instant,
    /// Media received or sent, one entry per codec.
    pub(crate) media: Vec<Media>,
    ended: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    /// ICE and DTLS are up, and so is SRTP.
    Connected,
    Ended(End),
}

/// The reason why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Deleted,
    Closed,
    Lost,
    NeverConnected,
    Failed,
    Shutdown,
}

/// Media received or sent with one codec.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    pub(crate) codec: Codec,
    pub(crate) packets: u64,
    /// Bytes of RTP payload.
    pub(crate) bytes: u64,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Snapshot {
            state: State::Connecting,
            started: Instant::now(),
            media: Vec::new(),
            ended: None,
        })))
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    pub(crate) fn connected(&self) {
        self.lock().state = State::Connected;
    }

    pub(crate) fn ended(&self, end: End) {
        let mut snapshot = self.lock();
        snapshot.state = State::Ended(end);
        snapshot.ended = Some(Instant::now());
    }

    pub(crate) fn carried(&self, codec: Codec, bytes: usize) {
        let mut snapshot = self.lock();
        let bytes = bytes as u64;
        match snapshot.media.iter_mut().find(|media| media.codec == codec) {
            Some(media) => {
                media.packets += 1;
                media.bytes += bytes;
            }
            None => snapshot.media.push(Media {
                codec,
                packets: 1,
                bytes,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    pub(crate) fn is_live(&self) -> bool {
        self.ended.is_none()
    }

    pub(crate) fn packets(&self) -> u64 {
        self.media.iter().map(|media| media.packets).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.media.iter().map(|media| media.bytes).sum()
    }

    /// The duration of the session, up to now if it is live.
    pub(crate) fn duration(&self) -> Duration {
        self.ended.unwrap_or_else(Instant::now) - self.started
    }
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Ended(_) => "ended",
        }
    }
}

impl End {
    pub(crate) const ALL: [Self; 6] = [
        Self::Deleted,
        Self::Closed,
        Self::Lost,
        Self::NeverConnected,
        Self::Failed,
        Self::Shutdown,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Closed => "closed",
            Self::Lost => "lost",
            Self::NeverConnected => "never_connected",
            Self::Failed => "failed",
            Self::Shutdown => "shutdown",
        }
    }
}
