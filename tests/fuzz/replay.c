/*
 * Stands in for libFuzzer in an ordinary build: the target sees every seed
 * file, then each seed cut short and with bytes changed, in a fixed order.
 * Each input is an allocation of just its length, so that the address
 * sanitizer sees a read past its end. Exits non-zero when there was no seed.
 */
#include "config.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CUTS 128	/* lengths tried a seed */
#define CHANGES 256	/* changed copies tried a seed */

static unsigned long seeds;

static void die(const char *what)
{
	perror(what);
	exit(99);
}

static void one(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len);	/* len 0: may be NULL, that is fine */

	if (len && !copy)
		die("malloc");
	if (len)
		memcpy(copy, data, len);
	(void) LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void changed(const uint8_t *data, size_t len)
{
	static const uint8_t odd[] = { 0x00, 0x7f, 0x80, 0xff, '"', '[' };
	uint32_t state = 0x9e3779b9U ^ (uint32_t)len;
	uint8_t *copy;

	if (!len)
		return;
	copy = malloc(len);
	if (!copy)
		die("malloc");
	for (unsigned i = 0; i < CHANGES; i++) {
		unsigned times = 1 + next_random(&state) % 4;

		memcpy(copy, data, len);
		while (times--) {
			uint8_t *at = copy + next_random(&state) % len;
			uint32_t how = next_random(&state);

			if (how & 1)
				*at ^= (uint8_t)(1U << (how >> 8) % 8);
			else
				*at = odd[(how >> 8) % sizeof(odd)];
		}
		one(copy, len);
	}
	free(copy);
}

static void replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	uint8_t *data;
	size_t len;

	if (!f || fstat(fileno(f), &st) < 0)
		die(path);
	len = (size_t)st.st_size;
	data = malloc(len + 1);
	if (!data)
		die("malloc");
	if (fread(data, 1, len, f) != len)
		die(path);
	(void) fclose(f);
	seeds++;
	one(data, len);
	for (size_t i = 0; i < CUTS && len; i++)
		one(data, len <= CUTS ? i % len : len / CUTS * i);
	changed(data, len);
	free(data);
}

static void replay(const char *path)
{
	struct dirent **names;
	struct stat st;
	int n;

	if (stat(path, &st) < 0)
		die(path);
	if (!S_ISDIR(st.st_mode)) {
		replay_file(path);
		return;
	}
	n = scandir(path, &names, NULL, alphasort);
	if (n < 0)
		die(path);
	for (int i = 0; i < n; i++) {
		char *below = NULL;

		if (names[i]->d_name[0] != '.') {
			if (asprintf(&below, "%s/%s", path,
					names[i]->d_name) < 0)
				die("malloc");
			replay(below);
			free(below);
		}
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	(void) fprintf(stderr, "%s: %lu seeds\n", argv[0], seeds);
	return seeds ? 0 : 99;
}
