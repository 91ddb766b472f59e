//! The publishers, as `tests/run` installs them.

use std::process::{Output, Stdio};

use e2e::{program::installed, whip_server::TIMEOUT};
use tokio::{process::Command, time::timeout};

/// Python from the virtual environment that `tests/run` creates.
pub(crate) fn python() -> Command {
    let mut python = Command::new(installed("venv/bin/python"));
    python.kill_on_drop(true);
    python
}

/// Runs FFmpeg, which publishes H.264 and Opus for three seconds unless it fails.
pub(crate) async fn ffmpeg(url: &str, flags: &[&str]) -> Output {
    let flags = [flags, &["-t", "3"]].concat();
    let ended = endless_ffmpeg(url, &flags).await.output();
    timeout(TIMEOUT, ended)
        .await
        .expect("FFmpeg should end in time")
        .expect("FFmpeg should start")
}

/// An FFmpeg command that publishes until it is stopped.
pub(crate) async fn endless_ffmpeg(url: &str, flags: &[&str]) -> Command {
    let program = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe(), end='')";
    let found = python()
        .args(["-c", program])
        .output()
        .await
        .expect("python should start");
    assert!(
        found.status.success(),
        "FFmpeg is missing; tests/run installs it\n{}",
        lossy(&found.stderr)
    );
    let mut ffmpeg = Command::new(lossy(&found.stdout));
    ffmpeg.args(["-hide_banner", "-nostdin", "-loglevel", "info"]);
    ffmpeg.args(["-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=15"]);
    ffmpeg.args(["-re", "-f", "lavfi", "-i", "sine=sample_rate=48000"]);
    ffmpeg.args([
        "-c:v",
        "libx264",
        "-profile:v",
        "baseline",
        "-pix_fmt",
        "yuv420p",
        "-g",
        "15",
    ]);
    ffmpeg
        .args(["-c:a", "libopus", "-ac", "2"])
        .args(flags)
        .args(["-f", "whip", url]);
    ffmpeg.stderr(Stdio::piped()).kill_on_drop(true);
    ffmpeg
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
