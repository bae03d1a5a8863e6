# Finds Apple's metal-cpp headers: a folder the builder names, or the copy inside
# a wheel on the Python package index, pinned and checked by its hash.
set(ATTNPROTO_METAL_CPP_DIR "" CACHE PATH "Folder with Metal/Metal.hpp; empty: fetched")

set(_metal_cpp_package "mlx-metal==0.32.4")
set(_metal_cpp_sha256 9f0a3cc26d89724434d9684932fc6f3e4e83669d2a895d858ed2c8a55eb84e8b)

function(attnproto_find_metal_cpp result)
  if(ATTNPROTO_METAL_CPP_DIR)
    set(folder "${ATTNPROTO_METAL_CPP_DIR}")
  else()
    set(folder "${CMAKE_BINARY_DIR}/metal_cpp/mlx/include/metal_cpp")
    if(NOT EXISTS "${folder}/Metal/Metal.hpp")
      execute_process(
        COMMAND "${Python_EXECUTABLE}" "${PROJECT_SOURCE_DIR}/tools/fetch_metal_cpp.py"
          --package "${_metal_cpp_package}" --sha256 ${_metal_cpp_sha256}
          --into "${CMAKE_BINARY_DIR}/metal_cpp"
        RESULT_VARIABLE status)
      if(status)
        message(FATAL_ERROR "metal-cpp could not be fetched; "
          "give its folder with -DATTNPROTO_METAL_CPP_DIR=...")
      endif()
    endif()
  endif()
  if(NOT EXISTS "${folder}/Metal/Metal.hpp")
    message(FATAL_ERROR "found no Metal/Metal.hpp in ${folder}; point ATTNPROTO_METAL_CPP_DIR at metal-cpp")
  endif()
  set(${result} "${folder}" PARENT_SCOPE)
endfunction()
