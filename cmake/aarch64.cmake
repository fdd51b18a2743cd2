# Toolchain: Debian's cross compiler for 64-bit ARM. Libraries come from build/aarch64-root, which
# tools/make_aarch64_root.sh fills; programs run under qemu-user. scripts/test-aarch64 does it all.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

get_filename_component(lethe_aarch64_root ${CMAKE_CURRENT_LIST_DIR}/../build/aarch64-root ABSOLUTE)
set(lethe_aarch64_libraries ${lethe_aarch64_root}/usr/lib/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH ${lethe_aarch64_root})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${lethe_aarch64_root})
set(ENV{PKG_CONFIG_LIBDIR} ${lethe_aarch64_libraries}/pkgconfig)
# Libraries that our libraries need (ICU's data) are found here at link time and under qemu.
set(lethe_aarch64_basic ${lethe_aarch64_root}/lib/aarch64-linux-gnu)  # libedit's libtinfo
set(CMAKE_EXE_LINKER_FLAGS_INIT
    -Wl,-rpath-link,${lethe_aarch64_libraries}:${lethe_aarch64_basic})
set(CMAKE_CROSSCOMPILING_EMULATOR
    qemu-aarch64;-L;/usr/aarch64-linux-gnu;-E;LD_LIBRARY_PATH=${lethe_aarch64_libraries}:${lethe_aarch64_basic})
