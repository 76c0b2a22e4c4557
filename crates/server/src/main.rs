//! The `spinward` binary.

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    decay::shorten();
    spinward_server::cli::main()
}

/// The time for which the allocator keeps pages that are no longer used.
///
/// Its default of ten seconds means that ten seconds after a flood of channels much of their memory is still there,
/// which counts where the memory of a container is limited. Another time in `_RJEM_MALLOC_CONF` stays in force.
#[cfg(target_os = "linux")]
mod decay {
    use tikv_jemalloc_ctl::{Access, AsName};

    /// The default, in milliseconds.
    const DEFAULT: isize = 10_000;
    const OURS: isize = 3_000;
    /// Of arenas to come, and of the one that is there.
    const NAMES: [&[u8]; 2] = [b"arenas.dirty_decay_ms\0", b"arena.0.dirty_decay_ms\0"];

    pub(super) fn shorten() {
        for name in NAMES.map(AsName::name) {
            if let Ok(DEFAULT) = name.read() {
                // Otherwise it is kept for longer, no worse.
                let _ = name.write(OURS);
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn pages_are_given_back_sooner() {
            shorten();
            assert_eq!(NAMES.map(|name| name.name().read()), [Ok(OURS), Ok(OURS)]);
        }
    }
}
