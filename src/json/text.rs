//! [`JsonText`]: the requests that are JSON themselves.

/// A request that `JsonOffers` reads as it is.
///
/// It is implemented for all `AsRef<[u8]>`. It stands between that trait and `ExtractOffer` for its error message: an
/// HTTP request is not text, and the message names what reads one.
#[diagnostic::on_unimplemented(
    message = "`JsonOffers` reads JSON text, but `{Self}` is not text",
    label = "not `AsRef<[u8]>`",
    note = "for HTTP requests, use `HttpOffers::new().json(..)` with this `JsonOffers`",
    note = "for other requests, use `JsonOffers::of(|request: &{Self}| ..)`, which returns the text in a request"
)]
#[allow(unnameable_types, reason = "it is there for its error message alone")]
pub trait JsonText {
    #[doc(hidden)]
    fn text(&self) -> &[u8];
}

#[diagnostic::do_not_recommend]
impl<T: AsRef<[u8]>> JsonText for T {
    fn text(&self) -> &[u8] {
        self.as_ref()
    }
}
