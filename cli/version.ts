/** The engine's own version; what the API says to clients. */
export const version = '0.1.0';
