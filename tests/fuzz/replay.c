/* SPDX-License-Identifier: MIT */
/* A target's corpus as an ordinary test: each file of the folders given is an input, and a test case. No fuzzer is needed. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

/* Exactly as large as the file, so that a sanitizer sees each byte too many. */
static uint8_t *read_file(const char *path, size_t *ret_len)
{
	FILE *file = fopen(path, "re");
	struct stat st;
	if (!file || fstat(fileno(file), &st) < 0) {
		printf("Bail out! %s can not be read\n", path);
		exit(1);
	}
	uint8_t *data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1);
	*ret_len = data ? fread(data, 1, (size_t)st.st_size, file) : 0;
	fclose(file);
	return data;
}

static void run_file(const char *folder, const char *name, unsigned number)
{
	char path[4096];
	size_t len;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	uint8_t *data = read_file(path, &len);
	LLVMFuzzerTestOneInput(data, len);
	free(data);
	printf("ok %u - %s\n", number, name);
	fflush(stdout);
}

static int is_input(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static unsigned run_folder(const char *folder, unsigned number)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, is_input, alphasort);
	if (count <= 0) {
		printf("Bail out! %s holds nothing\n", folder);
		exit(1);
	}
	for (int i = 0; i < count; i++) {
		run_file(folder, entries[i]->d_name, ++number);
		free(entries[i]);
	}
	free(entries);
	return number;
}

int main(int argc, char **argv)
{
	unsigned number = 0;
	for (int i = 1; i < argc; i++)
		number = run_folder(argv[i], number);
	printf("1..%u\n", number);
	return 0;
}
