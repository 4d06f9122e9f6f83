# What `cmake --install` puts in place:
#   include/readback/   the public headers (PUBLIC in readback/CMakeLists.txt) and version.h
#   lib/                libreadback
#   lib/cmake/readback  find_package(readback), with the modules that find libtorch and libwebp
#   share/readback/     the small world's checkpoints and sprites
#   bin/readback        the program
# Nothing of it refers to the source tree but for libtorch, where that lies in .deps/. `--component libtorch` puts a copy
# of libtorch (1.3 GB) beside the library; it is found there first.
include(CMakePackageConfigHelpers)
set(package "${CMAKE_INSTALL_LIBDIR}/cmake/readback")

install(TARGETS libreadback EXPORT readbackTargets FILE_SET HEADERS FILE_SET made)
install(EXPORT readbackTargets NAMESPACE readback:: DESTINATION "${package}")
list(TRANSFORM READBACK_PACKAGES REPLACE "(.+)" "\"\\1\"" OUTPUT_VARIABLE READBACK_PACKAGES_QUOTED)
string(JOIN " " READBACK_PACKAGES_QUOTED ${READBACK_PACKAGES_QUOTED})
set(LIBTORCH_COPY "${CMAKE_INSTALL_LIBDIR}/readback/torch")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/readbackConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/readbackConfig.cmake" INSTALL_DESTINATION "${package}" PATH_VARS LIBTORCH_COPY)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/readbackConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/readbackConfig.cmake" "${PROJECT_BINARY_DIR}/readbackConfigVersion.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/FindLibTorch.cmake" "${PROJECT_SOURCE_DIR}/cmake/FindWebP.cmake" DESTINATION "${package}")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/assets/" DESTINATION "${CMAKE_INSTALL_DATADIR}/readback")
if(TARGET readback)
  install(TARGETS readback)
endif()
foreach(part include lib)
  install(DIRECTORY "${LibTorch_FOLDER}/${part}" DESTINATION "${LIBTORCH_COPY}" USE_SOURCE_PERMISSIONS
    COMPONENT libtorch EXCLUDE_FROM_ALL)
endforeach()
install(DIRECTORY "${LibTorch_FOLDER}/../nvidia" DESTINATION "${CMAKE_INSTALL_LIBDIR}/readback" USE_SOURCE_PERMISSIONS
  OPTIONAL COMPONENT libtorch EXCLUDE_FROM_ALL)
