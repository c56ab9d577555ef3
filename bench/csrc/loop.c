// The bare fork loop: the least that a supervisor can do, and so the floor of
// every figure. Per service a pipe, a fork, a session and an exec; one that
// dies is forked again at once; SIGTERM ends all.
//
//	loop CHILD DIR N   runs CHILD DIR svc00000 … svc(N-1)
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct service {
	pid_t pid;
	int log;
};

static void start(struct service *s, int i, char *child, char *dir, const sigset_t *unblocked)
{
	char name[16];
	int pipefd[2];

	snprintf(name, sizeof name, "svc%05d", i);
	if (s->log >= 0)
		close(s->log);
	if (pipe2(pipefd, O_CLOEXEC) < 0)
		exit(111);
	s->log = pipefd[0];
	s->pid = fork();
	if (s->pid < 0)
		exit(111);
	if (s->pid == 0) {
		char *argv[] = {child, dir, name, NULL};
		setsid();
		dup2(pipefd[1], 1);
		dup2(pipefd[1], 2);
		sigprocmask(SIG_SETMASK, unblocked, NULL);
		execv(child, argv);
		_exit(111);
	}
	close(pipefd[1]);
}

int main(int argc, char **argv)
{
	sigset_t blocked, unblocked;
	struct service *all;
	int n, i, sig, left;
	pid_t pid;

	if (argc != 4 || (n = atoi(argv[3])) < 1 || !(all = calloc(n, sizeof *all)))
		return 100;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &unblocked);
	for (i = 0; i < n; i++) {
		all[i].log = -1;
		start(&all[i], i, argv[1], argv[2], &unblocked);
	}
	for (;;) {
		sigwait(&blocked, &sig);
		if (sig == SIGTERM)
			break;
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			for (i = 0; i < n; i++)
				if (all[i].pid == pid)
					start(&all[i], i, argv[1], argv[2], &unblocked);
	}
	for (i = 0; i < n; i++)
		kill(all[i].pid, SIGTERM);
	for (left = n; left > 0;)
		if (waitpid(-1, NULL, 0) > 0)
			left--;
		else if (errno != EINTR)
			return 111;
	return 0;
}
