# The Metal device: on Apple against the frameworks, with ATTNPROTO_METAL_DOUBLE
# against the software double (which needs clang), elsewhere a function that
# says there is none.
option(ATTNPROTO_METAL_DOUBLE "Build the Metal device against the software double" OFF)
include("${CMAKE_CURRENT_LIST_DIR}/metal_cpp.cmake")

function(attnproto_add_metal target)
  if(NOT APPLE AND NOT ATTNPROTO_METAL_DOUBLE)
    target_sources(${target} PRIVATE cpp/metal/no_metal.cpp)
    return()
  endif()
  attnproto_find_metal_cpp(metal_cpp)
  # metal-cpp calls methods of nil, as Objective-C allows and C++ does not: clang 22 then takes
  # every pointer for set and drops our questions whether Metal gave one.
  target_compile_options(${target} PUBLIC
    $<$<COMPILE_LANGUAGE:CXX>:-fno-delete-null-pointer-checks>)
  set(sources
    cpp/metal/completion.cpp
    cpp/metal/constants.cpp
    cpp/metal/device.cpp
    cpp/metal/library.cpp
    cpp/metal/metal_cpp.cpp
    cpp/metal/objc.cpp
    cpp/metal/submission.cpp
    cpp/metal/variants.cpp)
  target_sources(${target} PRIVATE ${sources})
  target_include_directories(${target} SYSTEM PRIVATE "${metal_cpp}")
  if(APPLE)
    target_compile_definitions(${target} PRIVATE METALCPP_SYMBOL_VISIBILITY_HIDDEN)
    find_library(METAL_FRAMEWORK Metal REQUIRED)
    find_library(FOUNDATION_FRAMEWORK Foundation REQUIRED)
    find_library(IOKIT_FRAMEWORK IOKit REQUIRED)
    target_link_libraries(${target} PUBLIC
      ${METAL_FRAMEWORK} ${FOUNDATION_FRAMEWORK} ${IOKIT_FRAMEWORK} objc)
    # Two extensions of one process may both hold metal-cpp: nothing of ours is exported.
    set_target_properties(${target} PROPERTIES
      CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  else()
    attnproto_add_metal_double(${target} ${sources})
  endif()
endfunction()

# On Apple a library shows the names given, which may hold a *, and no others.
function(attnproto_export target)
  if(APPLE)
    foreach(name ${ARGN})
      target_link_options(${target} PRIVATE "LINKER:-exported_symbol,_${name}")
    endforeach()
  endif()
endfunction()

function(attnproto_add_metal_double target)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "metal-cpp needs blocks: build the double with clang (CXX=clang++)")
  endif()
  set(double "${PROJECT_SOURCE_DIR}/tests/metal_double")
  set(sources
    ${double}/blocks.cpp
    ${double}/commands.cpp
    ${double}/device.cpp
    ${double}/encoders.cpp
    ${double}/foundation.cpp
    ${double}/libraries.cpp
    ${double}/msl_scan.cpp
    ${double}/pipelines.cpp
    ${double}/runtime.cpp)
  target_sources(${target} PRIVATE
    ${sources} ${double}/message_${CMAKE_SYSTEM_PROCESSOR}.S)
  # What calls Metal, and what stands for it, runs for moments: a sanitizer's code for metal-cpp
  # takes longer to optimise than to run.
  set_source_files_properties(${sources} ${ARGN} PROPERTIES COMPILE_OPTIONS -O0)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fblocks>)
  # metal-cpp knows the architecture by the name that Apple's compilers give it.
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
    target_compile_definitions(${target} PUBLIC __arm64__=1)
  endif()
  target_include_directories(${target} SYSTEM PUBLIC "${double}/include")
  target_include_directories(${target} PUBLIC "${PROJECT_SOURCE_DIR}/tests")
  target_compile_definitions(${target} PUBLIC ATTNPROTO_METAL_DOUBLE)

  foreach(test rules device)
    file(GLOB parts CONFIGURE_DEPENDS ${double}/${test}_*test.cpp)
    add_executable(metal_${test}_test EXCLUDE_FROM_ALL ${parts} ${double}/stub_device.cpp)
    target_compile_options(metal_${test}_test PRIVATE -fblocks -O0)
    target_include_directories(metal_${test}_test SYSTEM PRIVATE "${metal_cpp}")
    target_link_libraries(metal_${test}_test PRIVATE ${target})
  endforeach()
endfunction()
