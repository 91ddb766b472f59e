//! Offers in JSON messages: [`JsonOffers`].

mod base64;
mod offers;
mod places;
mod rules;
mod scan;
mod text;

pub use self::offers::JsonOffers;
