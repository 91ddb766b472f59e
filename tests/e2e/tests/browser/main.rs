//! The room example in real browsers: headless Chromium, driven by ChromeDriver.

mod demo;
mod page;
mod room;
