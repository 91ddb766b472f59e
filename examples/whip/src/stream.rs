//! Streams: what a publisher sends, forwarded to any number of viewers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use str0m::{
    Rtc,
    format::PayloadParams,
    media::{KeyframeRequestKind, MediaKind, Mid},
    rtp::{RtpPacket, RtpWrite, Ssrc},
};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};

/// Packets that a viewer may lag behind: about half a second of video. A slower one misses some.
const MAX_LAG: usize = 512;

/// The least time between two requests for a key frame.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(300);

/// All streams that somebody publishes or watches, by name.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<String, Weak<Stream>>>>);

struct Stream {
    packets: broadcast::Sender<Arc<Packet>>,
    /// Counts the requests of viewers for a key frame.
    keyframes: watch::Sender<u64>,
    /// The number of the publication that is forwarded, or zero.
    current: AtomicU64,
    publications: AtomicU64,
}

/// An RTP packet on its way from a publisher to viewers.
pub(crate) struct Packet {
    /// Identifies the numbering of packets and times: another publisher has another.
    source: u64,
    kind: MediaKind,
    params: PayloadParams,
    sequence: u64,
    time: u32,
    marker: bool,
    arrived: Instant,
    payload: Arc<[u8]>,
}

/// A publisher's end of a stream. The one that connected last is forwarded.
pub(crate) struct Publication {
    stream: Arc<Stream>,
    number: u64,
    keyframes: watch::Receiver<u64>,
    asked: Option<Instant>,
    /// The forwarded encoding of each media section. Others, such as lower layers of a simulcast, are not forwarded.
    encodings: HashMap<Mid, Ssrc>,
}

/// A viewer's end of a stream.
pub(crate) struct Viewing {
    stream: Arc<Stream>,
    packets: broadcast::Receiver<Arc<Packet>>,
    tracks: Vec<Track>,
}

/// One of a viewer's media sections.
struct Track {
    mid: Mid,
    kind: MediaKind,
    /// Translates the numbering of the current source.
    numbering: Option<Numbering>,
    last: Option<(u64, u32)>,
}

#[derive(Clone, Copy)]
struct Numbering {
    source: u64,
    first_in: (u64, u32),
    first_out: (u64, u32),
}

impl Streams {
    pub(crate) fn publish(&self, name: &str) -> Publication {
        let stream = self.open(name);
        Publication {
            number: 1 + stream.publications.fetch_add(1, Relaxed),
            keyframes: stream.keyframes.subscribe(),
            asked: None,
            encodings: HashMap::new(),
            stream,
        }
    }

    /// Watches a stream. Its publisher may come later.
    pub(crate) fn watch(&self, name: &str) -> Viewing {
        let stream = self.open(name);
        Viewing {
            packets: stream.packets.subscribe(),
            tracks: Vec::new(),
            stream,
        }
    }

    fn open(&self, name: &str) -> Arc<Stream> {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = streams.get(name).and_then(Weak::upgrade) {
            return stream;
        }
        streams.retain(|_, stream| stream.strong_count() > 0);
        let stream = Arc::new(Stream {
            packets: broadcast::Sender::new(MAX_LAG),
            keyframes: watch::Sender::new(0),
            current: AtomicU64::new(0),
            publications: AtomicU64::new(0),
        });
        streams.insert(name.to_owned(), Arc::downgrade(&stream));
        stream
    }
}

impl Stream {
    fn want_keyframe(&self) {
        self.keyframes.send_modify(|count| *count += 1);
    }
}

impl Publication {
    pub(crate) fn connected(&self) {
        self.stream.current.store(self.number, Relaxed);
    }

    /// Resolves when a viewer needs a key frame.
    pub(crate) async fn keyframe_wanted(&mut self) {
        // The stream holds the sender.
        let _ = self.keyframes.changed().await;
    }

    pub(crate) fn request_keyframe(&mut self, rtc: &mut Rtc) {
        if self.asked.is_some_and(|asked| asked.elapsed() < KEYFRAME_INTERVAL) {
            return;
        }
        self.asked = Some(Instant::now());
        for ssrc in self.encodings.values() {
            if let Some(stream) = rtc.direct_api().stream_rx(ssrc) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
    }

    /// Passes a packet to the viewers, if this publication is the one that they watch.
    pub(crate) fn forward(&mut self, rtc: &mut Rtc, params: PayloadParams, packet: RtpPacket) {
        let ssrc = packet.header.ssrc;
        let Some(mid) = rtc.direct_api().stream_rx(&ssrc).map(|stream| stream.mid()) else {
            return;
        };
        if *self.encodings.entry(mid).or_insert(ssrc) != ssrc || !self.is_current() {
            return;
        }
        // Without viewers there is nobody to send to.
        let _ = self.stream.packets.send(Arc::new(Packet {
            source: self.number,
            kind: if params.spec().codec.is_audio() {
                MediaKind::Audio
            } else {
                MediaKind::Video
            },
            params,
            sequence: *packet.seq_no,
            time: packet.header.timestamp,
            marker: packet.header.marker,
            arrived: packet.timestamp,
            payload: packet.payload,
        }));
    }

    fn is_current(&self) -> bool {
        let current = &self.stream.current;
        current.load(Relaxed) == self.number || current.compare_exchange(0, self.number, Relaxed, Relaxed).is_ok()
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        // Another publisher of the same stream may take over.
        let _ = self.stream.current.compare_exchange(self.number, 0, Relaxed, Relaxed);
    }
}

impl Viewing {
    pub(crate) fn add_track(&mut self, mid: Mid, kind: MediaKind) {
        self.tracks.push(Track {
            mid,
            kind,
            numbering: None,
            last: None,
        });
    }

    /// Starts with what comes now. Older packets waited while the viewer connected.
    pub(crate) fn connected(&mut self) {
        self.packets = self.packets.resubscribe();
        self.want_keyframe();
    }

    pub(crate) fn want_keyframe(&self) {
        self.stream.want_keyframe();
    }

    /// Returns the next packet. After a gap the viewer needs a key frame.
    pub(crate) async fn next(&mut self) -> Arc<Packet> {
        loop {
            match self.packets.recv().await {
                Ok(packet) => return packet,
                Err(RecvError::Lagged(_)) => self.want_keyframe(),
                Err(RecvError::Closed) => unreachable!("the stream holds the sender"),
            }
        }
    }

    /// Sends a packet to the viewer. Returns what was sent, or `None` if the viewer cannot decode it.
    pub(crate) fn forward(&mut self, rtc: &mut Rtc, packet: &Packet) -> Option<PayloadParams> {
        let track = self.tracks.iter_mut().find(|track| track.kind == packet.kind)?;
        let params = *rtc.codec_config().match_params(packet.params)?;
        if !rtc.media(track.mid)?.remote_pts().contains(&params.pt()) {
            return None;
        }
        let (sequence, time) = track.number(packet)?;
        let write = RtpWrite::new(
            params.pt(),
            sequence.into(),
            time,
            packet.arrived,
            Arc::clone(&packet.payload),
        )
        .marker(packet.marker)
        .nackable(packet.kind == MediaKind::Video);
        rtc.direct_api().stream_tx_by_mid(track.mid, None)?.write_rtp(write);
        Some(params)
    }
}

impl Track {
    /// Continues the viewer's numbering, also for another publisher. `None` for a packet from before the source's first one.
    fn number(&mut self, packet: &Packet) -> Option<(u64, u32)> {
        let fresh = Numbering {
            source: packet.source,
            first_in: (packet.sequence, packet.time),
            first_out: match self.last {
                None => (packet.sequence, packet.time),
                Some((sequence, time)) => (
                    sequence + 1,
                    time.wrapping_add(packet.params.spec().clock_rate.get() / 30),
                ),
            },
        };
        let known = self.numbering.filter(|numbering| numbering.source == packet.source);
        let numbering = *self.numbering.insert(known.unwrap_or(fresh));
        let sequence = numbering.first_out.0 + packet.sequence.checked_sub(numbering.first_in.0)?;
        let time = packet
            .time
            .wrapping_sub(numbering.first_in.1)
            .wrapping_add(numbering.first_out.1);
        if self.last.is_none_or(|(last, _)| last < sequence) {
            self.last = Some((sequence, time));
        }
        Some((sequence, time))
    }
}

impl Packet {
    pub(crate) fn payload_len(&self) -> usize {
        self.payload.len()
    }
}
