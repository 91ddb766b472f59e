//! Public reports of other projects, each with the behaviour that is right. A test is named after its repository and
//! number.

mod http;
mod newest;
