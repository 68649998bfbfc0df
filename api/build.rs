//! Stops the build with a plain word when the web client is not there to be embedded.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-changed=build.rs");
    if !Path::new("web/dist/index.html").is_file() {
        println!(
            "cargo::error=api/web/dist/index.html is missing: run `scripts/up --install`, then `npm run build` in api/web"
        );
    }
}
