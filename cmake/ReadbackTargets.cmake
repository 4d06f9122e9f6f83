# One folder = one target = one namespace. These two functions are all the build logic the folders need.

# readback_library(text DEPS base PUBLIC unicode.h): readback/text/**/*.cpp -> static library readback_text, and a part
# of libreadback, which other projects link. The headers behind PUBLIC are installed; * stands for those of a folder.
# With TORCH it includes ATen through one shared precompiled header (7 s a file otherwise).
function(readback_library name)
  cmake_parse_arguments(arg "TORCH" "" "DEPS;LIBS;PUBLIC" ${ARGN})
  foreach(pattern ${arg_PUBLIC})
    file(GLOB headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/readback/${name}/${pattern}")
    if(NOT headers)
      message(FATAL_ERROR "readback_library(${name}): there is no ${pattern}")
    endif()
    target_sources(libreadback PUBLIC FILE_SET HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}" FILES ${headers})
  endforeach()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/readback/${name}/*.cpp")
  list(TRANSFORM arg_DEPS PREPEND readback_)
  if(NOT sources)  # a folder of headers only
    add_library(readback_${name} INTERFACE)
    target_include_directories(readback_${name} INTERFACE "${PROJECT_SOURCE_DIR}")
    target_link_libraries(readback_${name} INTERFACE ${arg_DEPS} ${arg_LIBS})
    return()
  endif()
  add_library(readback_${name} STATIC ${sources})
  target_include_directories(readback_${name} PUBLIC "${PROJECT_SOURCE_DIR}")
  target_compile_options(readback_${name} PRIVATE ${READBACK_WARNINGS})
  target_link_libraries(readback_${name} PUBLIC ${arg_DEPS} ${arg_LIBS})
  if(READBACK_SHARED AND NOT arg_PUBLIC)  # nobody outside sees into this folder
    set(archive $<TARGET_FILE:readback_${name}>)
    target_link_options(libreadback PRIVATE
      "LINKER:--whole-archive,${archive},--no-whole-archive,--exclude-libs,libreadback_${name}.a")
    set_property(TARGET libreadback APPEND PROPERTY LINK_DEPENDS ${archive})
  else()
    target_sources(libreadback PRIVATE $<TARGET_OBJECTS:readback_${name}>)
  endif()
  list(REMOVE_ITEM arg_LIBS fmt::fmt-header-only)  # nothing is left of it when our files are compiled
  target_link_libraries(libreadback PRIVATE ${arg_LIBS})
  if(arg_TORCH)
    target_link_libraries(readback_${name} PUBLIC LibTorch::LibTorch)
    if(TARGET readback_pch)
      target_precompile_headers(readback_${name} REUSE_FROM readback_pch)
    endif()
  endif()
endfunction()

# readback_test(text): tests/text/*_test.cpp -> program test_text, the ctest entry `text`.
function(readback_test name)
  cmake_parse_arguments(arg "TORCH" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/${name}/*.cpp")
  if(NOT sources)
    return()
  endif()
  add_executable(test_${name} ${sources} "${PROJECT_SOURCE_DIR}/tests/main.cpp")
  target_compile_options(test_${name} PRIVATE ${READBACK_WARNINGS})
  target_compile_definitions(test_${name} PRIVATE READBACK_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  list(TRANSFORM arg_DEPS PREPEND readback_)
  # GTest's archive lacks standard templates such as std::string::swap. Were ours named first, the linker would take these
  # from any of our object files, and libtorch with it.
  target_link_libraries(test_${name} PRIVATE GTest::gtest stdc++ ${arg_DEPS})
  if(arg_TORCH)
    target_sources(test_${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests/far_device.cpp")
  endif()
  if(arg_TORCH AND TARGET readback_pch)
    target_precompile_headers(test_${name} REUSE_FROM readback_pch)
  endif()
  # One process a folder: starting libtorch for each of hundreds of cases took longer than most of them.
  add_test(NAME ${name} COMMAND test_${name} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
  set_tests_properties(${name} PROPERTIES LABELS ${name})
endfunction()
