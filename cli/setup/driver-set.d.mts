export function allDrivers(): string[];
export function driverSet(file?: string): string[];
export function packagesOf(drivers: readonly string[]): string[];
export function indexModule(drivers: readonly string[]): string;
