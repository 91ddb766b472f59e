//! The peer connection of a publisher or a viewer, on its own UDP socket.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcError,
    change::SdpOffer,
    format::PayloadParams,
    net::{DatagramRecv, Protocol, Receive},
    rtp::RtpPacket,
};
use tokio::{net::UdpSocket, sync::mpsc, time::sleep_until};
use tracing::{debug, warn};

use crate::{
    fragment::{self, Fragment},
    patch::{Patch, Patched},
    progress::{End, Progress},
    stream::{Packet, Publication, Viewing},
};

/// Time limit for a client to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Larger than any datagram that WebRTC sends.
const MAX_DATAGRAM: usize = 2048;

pub(crate) struct Connection {
    rtc: Rtc,
    socket: UdpSocket,
    address: SocketAddr,
    part: Part,
    offer: String,
    /// The client's ICE user fragment and password.
    credentials: (String, String),
    /// Counts ICE sessions, for the entity tag.
    ice_session: u64,
    /// `true` once media could flow.
    has_connected: bool,
}

/// A client's part in a stream.
pub(crate) enum Part {
    Publisher(Publication),
    Viewer(Viewing),
}

/// A stream's request to a connection.
enum Wanted {
    Keyframe,
    Forward(Arc<Packet>),
}

/// The reason why there is no connection.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The body is not an offer.
    Malformed(String),
    /// The endpoint supports none of the media.
    NoMedia,
    /// No UDP socket is available.
    NoSocket(io::Error),
}

impl Connection {
    /// Accepts an offer. Returns the connection and the answer.
    pub(crate) async fn accept(offer: &str, part: Part, ip: IpAddr) -> Result<(Self, String), Refused> {
        // RFC 9725 §4.2: an offer may say sendrecv, and is answered as if it said sendonly. WHEP has it the other way.
        let offer = offer.replace(
            "a=sendrecv",
            match part {
                Part::Publisher(_) => "a=sendonly",
                Part::Viewer(_) => "a=recvonly",
            },
        );
        let credentials = match Fragment::parse(&offer) {
            Ok(Fragment {
                credentials: Some(credentials),
                ..
            }) => credentials,
            Ok(_) => return Err(Refused::Malformed("it has no ICE credentials".into())),
            Err(malformed) => return Err(Refused::Malformed(malformed.to_string())),
        };
        let parsed = SdpOffer::from_sdp_string(&offer).map_err(Refused::malformed)?;

        let socket = UdpSocket::bind((ip, 0)).await.map_err(Refused::NoSocket)?;
        let address = socket.local_addr().map_err(Refused::NoSocket)?;
        let mut rtc = Rtc::builder()
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_h264(true)
            .build(Instant::now());
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("a bound socket should have an address"));
        let answer = rtc
            .sdp_api()
            .accept_offer(parsed)
            .map_err(Refused::malformed)?
            .to_sdp_string();
        // A refused section has port 0 (RFC 3264 §6).
        let mut sections = answer.lines().filter(|line| line.starts_with("m="));
        if sections.all(|section| section.split(' ').nth(1) == Some("0")) {
            return Err(Refused::NoMedia);
        }

        let connection = Self {
            rtc,
            socket,
            address,
            part,
            offer,
            credentials,
            ice_session: 1,
            has_connected: false,
        };
        Ok((connection, answer))
    }

    /// Identifies the ICE session (RFC 9725 §4.3.1).
    pub(crate) fn etag(&self) -> String {
        format!("\"ice-{}\"", self.ice_session)
    }

    /// Receives or forwards media until the connection ends, or until nobody can send patches any more.
    pub(crate) async fn run(mut self, mut patches: mpsc::Receiver<Patch>, progress: &Progress) -> Option<End> {
        let end = self.exchange(&mut patches, progress).await.err();
        // Closes properly, so that the client need not wait for a time-out.
        if self.rtc.close().is_ok() {
            let _ = self.drain(progress).await;
        }
        end
    }

    async fn exchange(&mut self, patches: &mut mpsc::Receiver<Patch>, progress: &Progress) -> Result<(), End> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let mut datagram = vec![0; MAX_DATAGRAM];
        loop {
            let mut timeout = self.drain(progress).await?;
            if !self.has_connected {
                if Instant::now() >= deadline {
                    return Err(End::NeverConnected);
                }
                timeout = timeout.min(deadline);
            }
            tokio::select! {
                () = sleep_until(timeout.into()) => self.input(Input::Timeout(Instant::now()))?,
                received = self.socket.recv_from(&mut datagram) => match received {
                    Ok((length, source)) => self.datagram(&datagram[..length], source)?,
                    Err(error) => debug!(%error, "receiving a datagram failed"),
                },
                patch = patches.recv() => match patch {
                    Some(patch) => self.patch(patch),
                    None => return Ok(()),
                },
                wanted = self.part.wanted(), if self.has_connected => self.serve(wanted, progress)?,
            }
        }
    }

    /// Processes all pending output. Returns the time of the next.
    async fn drain(&mut self, progress: &Progress) -> Result<Instant, End> {
        loop {
            match self.rtc.poll_output().map_err(|error| failed(&error))? {
                Output::Timeout(at) => return Ok(at),
                Output::Transmit(packet) => {
                    if let Err(error) = self.socket.send_to(&packet.contents, packet.destination).await {
                        debug!(%error, "sending a datagram failed");
                    }
                }
                Output::Event(Event::Connected) => {
                    self.has_connected = true;
                    progress.connected();
                    self.part.connected();
                }
                Output::Event(Event::MediaAdded(media)) => {
                    if let Part::Viewer(viewing) = &mut self.part {
                        viewing.add_track(media.mid, media.kind);
                    }
                }
                Output::Event(Event::KeyframeRequest(_)) => {
                    if let Part::Viewer(viewing) = &self.part {
                        viewing.want_keyframe();
                    }
                }
                Output::Event(Event::RtpPacket(packet)) => self.received(packet, progress),
                Output::Event(Event::Closed) => return Err(End::Closed),
                Output::Event(Event::IceConnectionStateChange(IceConnectionState::Disconnected)) => {
                    return Err(End::Lost);
                }
                Output::Event(_) => {}
            }
        }
    }

    fn received(&mut self, packet: RtpPacket, progress: &Progress) {
        let is_same = |params: &&PayloadParams| params.pt() == packet.header.payload_type;
        let Some(params) = self.rtc.codec_config().iter().find(is_same).copied() else {
            return;
        };
        progress.carried(params.spec().codec, packet.payload.len());
        if let Part::Publisher(publication) = &mut self.part {
            publication.forward(&mut self.rtc, params, packet);
        }
    }

    fn serve(&mut self, wanted: Wanted, progress: &Progress) -> Result<(), End> {
        match (&mut self.part, wanted) {
            (Part::Publisher(publication), Wanted::Keyframe) => publication.request_keyframe(&mut self.rtc),
            (Part::Viewer(viewing), Wanted::Forward(packet)) => {
                if let Some(params) = viewing.forward(&mut self.rtc, &packet) {
                    progress.carried(params.spec().codec, packet.payload_len());
                }
            }
            (Part::Publisher(_), Wanted::Forward(_)) | (Part::Viewer(_), Wanted::Keyframe) => {}
        }
        // Lets the connection send at once what was written.
        self.input(Input::Timeout(Instant::now()))
    }

    fn datagram(&mut self, datagram: &[u8], source: SocketAddr) -> Result<(), End> {
        let Ok(contents) = DatagramRecv::try_from(datagram) else {
            return Ok(());
        };
        let input = Input::Receive(
            Instant::now(),
            Receive {
                proto: Protocol::Udp,
                source,
                destination: self.address,
                contents,
            },
        );
        // Anyone can send to the socket.
        if self.rtc.accepts(&input) {
            self.input(input)
        } else {
            Ok(())
        }
    }

    fn input(&mut self, input: Input<'_>) -> Result<(), End> {
        self.rtc.handle_input(input).map_err(|error| failed(&error))
    }

    fn patch(&mut self, patch: Patch) {
        let Patch {
            fragment,
            if_match,
            done,
        } = patch;
        let patched = if if_match.holds(&self.etag()) {
            self.apply(fragment)
        } else {
            Patched::OtherIceSession
        };
        // The sender may be gone.
        let _ = done.send(patched);
    }

    fn apply(&mut self, fragment: Fragment) -> Patched {
        let restart = fragment
            .credentials
            .filter(|credentials| *credentials != self.credentials);
        let restarted = match &restart {
            None => Patched::Trickled,
            Some(credentials) => match self.restart(credentials) {
                Ok(fragment) => Patched::Restarted {
                    etag: self.etag(),
                    fragment,
                },
                Err(error) => return Patched::Failed(error),
            },
        };
        // RFC 9725 §4.3.2: unresolvable or unsupported candidates are discarded silently.
        let candidates = fragment
            .candidates
            .iter()
            .filter_map(|line| Candidate::from_sdp_string(line).ok());
        for candidate in candidates {
            self.rtc.add_remote_candidate(candidate);
        }
        restarted
    }

    /// WHIP has no second offer, but str0m needs one: the first offer with the new credentials.
    fn restart(&mut self, (name, password): &(String, String)) -> Result<String, RtcError> {
        let offer = fragment::restart(&self.offer, name, password);
        let parsed = SdpOffer::from_sdp_string(&offer)?;
        let answer = self.rtc.sdp_api().accept_offer(parsed)?.to_sdp_string();
        self.offer = offer;
        self.credentials = (name.clone(), password.clone());
        self.ice_session += 1;
        Ok(fragment::of_answer(&answer))
    }
}

impl Part {
    /// Waits for the stream. Dropping the future loses nothing.
    async fn wanted(&mut self) -> Wanted {
        match self {
            Self::Publisher(publication) => {
                publication.keyframe_wanted().await;
                Wanted::Keyframe
            }
            Self::Viewer(viewing) => Wanted::Forward(viewing.next().await),
        }
    }

    fn connected(&mut self) {
        match self {
            Self::Publisher(publication) => publication.connected(),
            Self::Viewer(viewing) => viewing.connected(),
        }
    }
}

impl Refused {
    fn malformed(error: impl fmt::Display) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "not an offer: {error}"),
            Self::NoMedia => f.write_str("the offer has no media that this endpoint accepts (Opus, H.264, VP8)"),
            Self::NoSocket(error) => write!(f, "no UDP socket: {error}"),
        }
    }
}

fn failed(error: &RtcError) -> End {
    warn!(%error, "session failed");
    End::Failed
}
