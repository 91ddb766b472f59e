#[test]
fn example_holds() -> Result<(), std::convert::Infallible> {
    super::main()
}
