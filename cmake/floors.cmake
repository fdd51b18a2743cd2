# Compile flags shared by every target of the project, and the lethe_floor() helper.

add_library(lethe_flags INTERFACE)
target_include_directories(lethe_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(lethe_flags INTERFACE -Wall -Wextra -Wconversion)
if(NOT CMAKE_UNITY_BUILD)
  target_compile_options(lethe_flags INTERFACE -Wshadow)  # of another file's names otherwise
endif()
# Results must not depend on whether the compiler fuses a multiply with an add.
target_compile_options(lethe_flags INTERFACE -ffp-contract=off -fno-math-errno)
if(LETHE_WERROR)
  target_compile_options(lethe_flags INTERFACE -Werror)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(lethe_flags INTERFACE -march=x86-64-v2)
endif()
if(LETHE_SANITIZE)
  add_compile_options(-fsanitize=${LETHE_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${LETHE_SANITIZE})
endif()

# Sanitizers and other processors only repeat what the release build has checked file by file, so
# their presets compile the files of a library several at a time: less than half of the time.
if(CMAKE_UNITY_BUILD)
  set(CMAKE_UNITY_BUILD_BATCH_SIZE 8)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # A file of its own may have an Impl with members of types only it knows.
    add_compile_options(-Wno-subobject-linkage)
  endif()
endif()

# Kernels of an instruction set: src/kernels/ISA*.cpp are compiled with its flags, and only where it
# exists (docs/kernels.md, "To add an instruction set"). They throw nothing, so that no exception
# tables, which are shared symbols, come with the wide flags.
set(lethe_avx2_flags -mavx2 -mfma -mf16c -fno-exceptions)
set(lethe_avxvnni_flags ${lethe_avx2_flags} -mavxvnni)
set(lethe_avx512_flags ${lethe_avx2_flags} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vbmi
                       -mavx512vnni)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Its own AVX-512 headers leave vectors undefined on purpose, and are blamed for it (GCC 105593).
  list(APPEND lethe_avx512_flags -Wno-uninitialized -Wno-maybe-uninitialized)
endif()
set(lethe_avx512bf16_flags ${lethe_avx512_flags} -mavx512bf16)
set(lethe_amx_flags ${lethe_avx512bf16_flags} -mamx-tile -mamx-int8)
set(lethe_neon_flags -march=armv8.2-a+dotprod -fno-exceptions)
set(lethe_neoni8mm_flags -march=armv8.2-a+dotprod+i8mm -fno-exceptions)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # It would move loads up and spill the sums of a tile (a sixth more instructions with GCC 12).
  list(APPEND lethe_neon_flags -fno-schedule-insns)
  list(APPEND lethe_neoni8mm_flags -fno-schedule-insns)
endif()

# lethe_wide_sources(LIST): gives the files in the variable LIST their flags, or drops them.
function(lethe_wide_sources list_name)
  set(kept ${${list_name}})
  foreach(source IN LISTS kept)
    if(NOT source MATCHES "/kernels/((avx|amx|neon)[a-z0-9]*)_[^/]*\\.cpp$")
      continue()
    endif()
    set(isa ${CMAKE_MATCH_1})
    set(processors "x86_64|AMD64")
    if(isa MATCHES "^neon")
      set(processors "aarch64|arm64")
    endif()
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(${processors})$")
      set(flags ${lethe_${isa}_flags})
      if(LETHE_FUZZERS)
        list(APPEND flags -fno-sanitize=all)  # no fuzzer reaches them, and they are half of the time
      endif()
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${flags}"
                                  SKIP_PRECOMPILE_HEADERS ON)
    else()
      list(REMOVE_ITEM kept ${source})
    endif()
  endforeach()
  set(${list_name} ${kept} PARENT_SCOPE)
endfunction()

# Headers of other projects that many files include, compiled once per library (and once for all
# tests): for the sanitizers' builds. Elsewhere it must be seen that every file includes what it
# uses, and warnings count, of which GCC 12 has false ones about standard headers read in this way.
option(LETHE_PRECOMPILE "Precompile headers of other projects" OFF)
set(lethe_common_headers <algorithm> <cstdint> <functional> <memory> <optional> <span> <string>
                         <string_view> <vector> <fmt/format.h>)
set(lethe_json_header <nlohmann/json.hpp>)

# lethe_precompile(TARGET HEADERS...): files compiled with flags of their own are left out.
function(lethe_precompile target)
  if(LETHE_PRECOMPILE)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  endif()
endfunction()

# lethe_floor(NAME DEPS ... PRIVATE_DEPS ...): the static library lethe_NAME from src/NAME/**.cpp.
function(lethe_floor name)
  cmake_parse_arguments(arg "" "" "DEPS;PRIVATE_DEPS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  if(NOT sources)
    add_library(lethe_${name} INTERFACE)
    target_link_libraries(lethe_${name} INTERFACE ${arg_DEPS})
    return()
  endif()
  lethe_wide_sources(sources)
  add_library(lethe_${name} STATIC ${sources})
  target_link_libraries(lethe_${name} PUBLIC ${arg_DEPS} PRIVATE lethe_flags ${arg_PRIVATE_DEPS})
  set(headers ${lethe_common_headers})
  if("nlohmann_json::nlohmann_json" IN_LIST arg_PRIVATE_DEPS)
    list(APPEND headers ${lethe_json_header})
  endif()
  lethe_precompile(lethe_${name} ${headers})
endfunction()
