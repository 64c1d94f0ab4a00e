use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::Timestamp;
use doorstep_domain::ports::MockClock;
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::certificate::LOOK;
use super::files::Hint;
use super::*;

/// A file of the integration tests.
fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/it/tls");
    std::fs::read(PathBuf::from(folder).join(name)).unwrap()
}

/// A folder with a certificate and a key.
struct Folder(TempDir);

impl Folder {
    fn with(certificate: &[u8], key: &[u8]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("cert.pem", certificate);
        folder.write("key.pem", key);
        folder
    }

    fn of(name: &str) -> Self {
        Self::with(&fixture(&format!("{name}.pem")), &fixture(&format!("{name}.key")))
    }

    /// Replaces a file in one step, as careful tools do.
    fn write(&self, name: &str, pem: &[u8]) {
        let draft = self.0.path().join("draft");
        std::fs::write(&draft, pem).unwrap();
        std::fs::rename(draft, self.0.path().join(name)).unwrap();
    }

    fn files(&self) -> TlsFiles {
        let at = |name| self.0.path().join(name);
        TlsFiles { certificate: at("cert.pem"), key: at("key.pem") }
    }

    fn load(&self) -> Result<Arc<ServerCertificate>, TlsError> {
        ServerCertificate::load(self.files(), Arc::new(clock())).map(Arc::new)
    }

    /// Why these files are refused.
    fn fault(&self) -> (TlsFile, TlsFault) {
        let error = self.load().map(drop).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(error.file.setting()), "{text}");
        assert!(text.contains(&*error.path.to_string_lossy()), "{text}");
        (error.file, error.fault)
    }
}

/// On 2030-01-01.
fn clock() -> MockClock {
    let mut clock = MockClock::new();
    clock.expect_now().return_const(Timestamp::from_micros(1_893_456_000_000_000));
    clock
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn a_pair_that_fits_is_used() {
    let (one, other, key) = (fixture("server.pem"), fixture("other.pem"), fixture("server.key"));
    for (certificate, key) in [
        (one.clone(), key.clone()),
        (join(&[&one, &other]), key.clone()),
        (join(&[b"subject = localhost\r\n", &one]), join(&[b"# a remark\n", &key])),
        // Both in one file, in both orders.
        (join(&[&one, &key]), join(&[&one, &key])),
        (join(&[&key, &one]), join(&[&key, &one])),
    ] {
        assert!(Folder::with(&certificate, &key).load().is_ok());
    }
    let certificate = Folder::of("expired").load().unwrap();
    // From 2020-02-01 to 2030-01-01.
    assert_eq!(certificate.expires_in(), Some(-(1_893_456_000 - 1_580_515_200)));
}

#[test]
fn what_cannot_be_used_is_refused_for_its_reason() {
    use TlsFile::{Certificate, Key};
    let (certificate, key) = (fixture("server.pem"), fixture("server.key"));
    let refused = |certificate: &[u8], key: &[u8]| Folder::with(certificate, key).fault();
    let cut = |pem: &[u8]| pem[..pem.len() / 2].to_vec();
    let garbled = String::from_utf8(certificate.clone()).unwrap().replacen('M', "!", 1);
    let der = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

    assert!(matches!(refused(b"", &key), (Certificate, TlsFault::NoCertificate(Hint::Nothing))));
    assert!(matches!(refused(&[0x30, 0x82], &key), (Certificate, TlsFault::NoCertificate(_))));
    assert!(matches!(refused(&key, &key), (Certificate, TlsFault::NoCertificate(Hint::Swapped))));
    assert!(matches!(refused(&cut(&certificate), &key), (Certificate, TlsFault::Damaged)));
    assert!(matches!(refused(garbled.as_bytes(), &key), (Certificate, TlsFault::Damaged)));
    let fault = refused(der.as_bytes(), &key);
    assert!(matches!(fault, (Certificate, TlsFault::BadCertificate(_))), "{fault:?}");
    let wrong_order = join(&[&fixture("other.pem"), &certificate]);
    assert!(matches!(refused(&wrong_order, &key), (Certificate, TlsFault::WrongOrder)));
    let large = vec![b' '; 1024 * 1024 + 1];
    assert!(matches!(refused(&large, &key), (Certificate, TlsFault::TooLarge)));

    assert!(matches!(refused(&certificate, b"x"), (Key, TlsFault::NoKey(Hint::Nothing))));
    let swapped = refused(&certificate, &certificate);
    assert!(matches!(swapped, (Key, TlsFault::NoKey(Hint::Swapped))));
    assert!(matches!(refused(&certificate, &cut(&key)), (Key, TlsFault::Damaged)));
    let older =
        b"-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n";
    for encrypted in [&fixture("encrypted.key")[..], older] {
        assert!(matches!(refused(&certificate, encrypted), (Key, TlsFault::EncryptedKey)));
    }
    let bad = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    assert!(matches!(refused(&certificate, bad.as_bytes()), (Key, TlsFault::BadKey)));
    let other = refused(&certificate, &fixture("other.key"));
    assert!(matches!(other, (Key, TlsFault::OtherKey { .. })), "{other:?}");

    let folder = Folder::of("server");
    std::fs::remove_file(folder.files().key).unwrap();
    assert!(matches!(folder.fault(), (Key, TlsFault::Unreadable(_))));
    std::fs::create_dir(folder.files().key).unwrap();
    assert!(matches!(folder.fault(), (Key, TlsFault::NoFile)));
}

#[test]
fn a_message_repeats_nothing_of_a_file() {
    let secret = "-----BEGIN s3cret\ns3cret\n-----BEGIN PRIVATE KEY-----\ns3cret!\n-----END PRIVATE KEY-----";
    for (certificate, key) in [
        (fixture("server.pem"), secret.as_bytes().to_vec()),
        (secret.as_bytes().to_vec(), fixture("server.key")),
    ] {
        let error = Folder::with(&certificate, &key).load().map(drop).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }
}

/// Whether new connections get another configuration than at the last call.
fn replaced(configs: &mut watch::Receiver<Arc<ServerConfig>>) -> bool {
    let replaced = configs.has_changed().unwrap();
    configs.mark_unchanged();
    replaced
}

#[test]
fn a_pair_that_is_replaced_file_by_file_is_used_when_it_is_complete() {
    let folder = Folder::of("server");
    let certificate = folder.load().unwrap();
    let (mut configs, valid) = (certificate.configs(), certificate.expires_in());
    assert!(!certificate.reload_if_changed(), "nothing has changed");

    folder.write("cert.pem", &fixture("expired.pem"));
    assert!(certificate.reload_if_changed());
    assert!(!replaced(&mut configs), "the key is missing");
    assert!(!certificate.reload_if_changed(), "a bad pair is reported once");
    assert_eq!(certificate.expires_in(), valid, "that of the certificate in use");
    folder.write("key.pem", &fixture("expired.key"));
    assert!(certificate.reload_if_changed());
    assert!(replaced(&mut configs));
    assert!(certificate.expires_in() < Some(0));

    std::fs::remove_file(folder.files().certificate).unwrap();
    assert!(certificate.reload_if_changed() && !certificate.reload_if_changed());
    assert!(!replaced(&mut configs));
    folder.write("cert.pem", &fixture("expired.pem"));
    assert!(certificate.reload_if_changed());
    assert!(replaced(&mut configs), "it is there again");
    certificate.reload();
    assert!(replaced(&mut configs), "whoever asks gets what is there");
}

#[test]
fn a_file_that_is_written_in_place_and_a_link_that_moves_are_changes() {
    let (one, other) = (Folder::of("server"), Folder::of("other"));
    let folder = tempfile::tempdir().unwrap();
    let point = |to: &Folder| {
        let draft = folder.path().join("draft");
        std::os::unix::fs::symlink(to.0.path(), &draft).unwrap();
        std::fs::rename(draft, folder.path().join("current")).unwrap();
    };
    point(&one);
    let at = |name| folder.path().join("current").join(name);
    let files = TlsFiles { certificate: at("cert.pem"), key: at("key.pem") };
    let certificate = ServerCertificate::load(files, Arc::new(clock())).unwrap();
    let mut configs = certificate.configs();
    point(&other);
    assert!(certificate.reload_if_changed());
    assert!(replaced(&mut configs));

    // Longer by a line break, so that it does not depend on the resolution of the file system's clock.
    let again = join(&[&fixture("other.pem"), b"\n"]);
    std::fs::write(other.files().certificate, again).unwrap();
    assert!(certificate.reload_if_changed());
    assert!(replaced(&mut configs));
}

#[tokio::test(start_paused = true)]
async fn the_files_are_looked_at_until_the_node_stops() {
    let folder = Folder::of("server");
    let certificate = folder.load().unwrap();
    let (mut configs, stopping) = (certificate.configs(), CancellationToken::new());
    let following = tokio::spawn(Arc::clone(&certificate).follow(stopping.clone()));
    for name in ["other", "server"] {
        tokio::time::sleep(LOOK / 3).await;
        folder.write("cert.pem", &fixture(&format!("{name}.pem")));
        folder.write("key.pem", &fixture(&format!("{name}.key")));
        let looked = tokio::time::timeout(LOOK * 2, configs.changed()).await;
        looked.expect("it is seen at the next look").unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stopping.cancel();
    following.await.unwrap();
}
