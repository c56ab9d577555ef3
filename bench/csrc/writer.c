// A gateway that logs as fast as it is read. Its lines are 100 bytes long and
// numbered from 1, so that what a logger kept shows whether a line is missing.
//
//	writer PER LINES HOLD   LINES lines, PER of them with each write; with HOLD 1 it then stays, as a gateway does
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { width = 100, digits = 10 };

static void next(char number[digits])
{
	int i = digits - 1;

	while (i >= 0 && number[i] == '9')
		number[i--] = '0';
	if (i >= 0)
		number[i]++;
}

int main(int argc, char **argv)
{
	char number[digits], *buf;
	long per, left, i;

	if (argc != 4 || (per = atol(argv[1])) < 1 || (left = atol(argv[2])) < 0 || !(buf = malloc(per * width)))
		return 100;
	memset(number, '0', digits);
	memset(buf, '.', per * width);
	for (i = 1; i <= per; i++)
		buf[i * width - 1] = '\n';
	while (left > 0) {
		long batch = left < per ? left : per;
		size_t len = batch * width, done = 0;
		for (i = 0; i < batch; i++) {
			next(number);
			memcpy(buf + i * width, number, digits);
		}
		while (done < len) {
			ssize_t n = write(1, buf + done, len - done);
			if (n < 0)
				return 111;
			done += n;
		}
		left -= batch;
	}
	if (atoi(argv[3]))
		for (;;)
			pause();
	return 0;
}
