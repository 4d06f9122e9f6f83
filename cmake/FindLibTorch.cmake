# LibTorch::LibTorch from an unpacked PyPI `torch` wheel (or a libtorch archive).
#
# The wheel's own TorchConfig.cmake demands a CUDA toolkit even for a CPU build, so the target is made here from
# libtorch_cpu, libc10 and the headers. libtorch_cuda is loaded at run time when a CUDA device is asked for
# (readback/base/device.cpp). Look-up order: -DLIBTORCH=DIR, $LIBTORCH, then LibTorch_FOLDERS (an installed readback's),
# or .deps/torch (filled by `./dev setup`). Sets LibTorch_FOLDER to what it took.
set(LIBTORCH "$ENV{LIBTORCH}" CACHE PATH "Folder that holds include/ and lib/libtorch_cpu.so")
if(LIBTORCH)
  set(LibTorch_FOLDERS "${LIBTORCH}")
elseif(NOT LibTorch_FOLDERS)
  set(LibTorch_FOLDERS "${CMAKE_CURRENT_LIST_DIR}/../.deps/torch")
endif()
set(LibTorch_FOLDER "NOTFOUND")
foreach(_folder ${LibTorch_FOLDERS})
  if(NOT LibTorch_FOLDER AND EXISTS "${_folder}/lib/libtorch_cpu.so")
    get_filename_component(LibTorch_FOLDER "${_folder}" REALPATH)
  endif()
endforeach()

find_library(LibTorch_CPU_LIBRARY torch_cpu PATHS "${LibTorch_FOLDER}/lib" NO_DEFAULT_PATH NO_CACHE)
find_library(LibTorch_C10_LIBRARY c10 PATHS "${LibTorch_FOLDER}/lib" NO_DEFAULT_PATH NO_CACHE)
find_path(LibTorch_INCLUDE_DIR ATen/ATen.h PATHS "${LibTorch_FOLDER}/include" NO_DEFAULT_PATH NO_CACHE)
file(GLOB _version_header "${LibTorch_FOLDER}/include/torch/headeronly/version.h"
  "${LibTorch_FOLDER}/include/torch/csrc/api/include/torch/version.h")
foreach(_part MAJOR MINOR PATCH)
  foreach(_header ${_version_header})
    file(STRINGS "${_header}" _line REGEX "#define TORCH_VERSION_${_part} [0-9]+")
    if(_line MATCHES "([0-9]+)$")
      set(_version_${_part} ${CMAKE_MATCH_1})
    endif()
  endforeach()
endforeach()
set(LibTorch_VERSION "${_version_MAJOR}.${_version_MINOR}.${_version_PATCH}")

list(JOIN LibTorch_FOLDERS ", " _looked)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "looked in ${_looked}. Run `./dev setup`, or set LIBTORCH to an unpacked torch wheel's torch/ folder.")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::c10 SHARED IMPORTED)
  set_target_properties(LibTorch::c10 PROPERTIES IMPORTED_LOCATION "${LibTorch_C10_LIBRARY}")
  add_library(LibTorch::LibTorch SHARED IMPORTED)
  set_target_properties(LibTorch::LibTorch PROPERTIES
    IMPORTED_LOCATION "${LibTorch_CPU_LIBRARY}"
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${LibTorch_INCLUDE_DIR}"
    INTERFACE_INCLUDE_DIRECTORIES "${LibTorch_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES LibTorch::c10)
  # CUDA wheels link libcudart, libcupti and more, which PyPI ships beside torch/ in nvidia/*/lib.
  file(GLOB LibTorch_RUNTIME_DIRS "${LibTorch_FOLDER}/../nvidia/*/lib")
  list(PREPEND LibTorch_RUNTIME_DIRS "${LibTorch_FOLDER}/lib")
endif()
