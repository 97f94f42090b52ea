/* The HDF5 files of test-stage-hdf5: their names (with the answer), how they
 * are written, and the numbers in most of them. */
#ifndef TESTS_UNIT_STAGE_HDF5_FILES_H
#define TESTS_UNIT_STAGE_HDF5_FILES_H

#include <stddef.h>

extern const float hdf5_values[6];
extern const size_t hdf5_files;		/* how many */
const char *hdf5_name(size_t i);
void hdf5_path(const char *dir, size_t i, char *ret, size_t room);
void hdf5_write_all(const char *dir);

#endif
