//! The probe as a process, against small servers that treat offers in known ways.

mod errors;
mod run;
mod server;
mod tls;
mod verdicts;
