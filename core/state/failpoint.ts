const armed = process.env['GANTRY_FAILPOINT'] ?? '';

/**
 * A named place between two steps of an operation. With GANTRY_FAILPOINT=NAME in the environment the daemon kills itself
 * there, as a power cut or the kernel's out-of-memory killer would, so that a test can see what the next start makes of it.
 */
export function failpoint(name: string): void {
  if (armed !== '' && armed === name) process.kill(process.pid, 'SIGKILL');
}
