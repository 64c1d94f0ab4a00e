//! SIGHUP says what it took over, and what needs a restart.

use doorstep_tests::server::{Doorstep, SqliteFile};

#[tokio::test]
async fn each_changed_setting_is_logged_with_what_it_needs() {
    let database = SqliteFile::new();
    let hash = |digit: &str| format!("\"sha256:{}\"", digit.repeat(64));
    let call = Doorstep::serve(&database.url())
        .file("doorstep.toml", &format!("[keys]\nshop = {}\n", hash("0")));
    let mut server = call.start().await;
    let changed = format!("[keys]\nshop = {}\n[server]\ndrain = \"5s\"\n", hash("1"));
    let call = call.file("doorstep.toml", &changed);
    server.hang_up();
    let keys = format!("keys.shop changed from {} to {}: taken over", hash("0"), hash("1"));
    server.logged(&keys, 1).await;
    server.logged("server.drain changed from \"3s\" to \"5s\": needs a restart", 1).await;
    // The key has been taken over; the other setting still needs its restart.
    let _call = call.file("doorstep.toml", &changed);
    server.hang_up();
    server.logged("server.drain changed from \"3s\" to \"5s\": needs a restart", 2).await;
    server.terminate();
    let said = server.wait().await.stderr;
    assert_eq!(said.matches("keys.shop changed").count(), 1, "{said}");
}
