/* SPDX-License-Identifier: MIT */
/* A target's corpus as an ordinary test: each file of the folders given is an input, and a test case. No fuzzer is needed. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define INPUT_MAX ((size_t)16 << 20)

static int run_file(const char *folder, const char *name, unsigned number)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "re");
	uint8_t *data = malloc(INPUT_MAX);
	if (!file || !data) {
		printf("Bail out! %s can not be read\n", path);
		exit(1);
	}
	size_t len = fread(data, 1, INPUT_MAX, file);
	fclose(file);
	/* No byte more than there are, so that reading one is seen. */
	uint8_t *exact = realloc(data, len > 0 ? len : 1);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	printf("ok %u - %s\n", number, name);
	fflush(stdout);
	return 0;
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
