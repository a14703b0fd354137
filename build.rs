//! Migrations and the cases of shipped providers are built into the binary: a new one is a change of the code.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=fixtures/providers");
}
